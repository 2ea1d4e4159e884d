//! The sandbox of the services.

use super::{Source, nothing, sources};
use mox_testkit::repository;
use std::process::Command;

/// The list of the design, in its order.
const SANDBOX: [&str; 32] = [
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "PrivateUsers=yes",
    "PrivateNetwork=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectProc=invisible",
    "ProcSubset=pid",
    "NoNewPrivileges=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
    "SystemCallErrorNumber=EPERM",
    "RestrictAddressFamilies=AF_UNIX",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "UMask=0077",
    "RemoveIPC=yes",
    "IPAddressDeny=any",
    "DevicePolicy=closed",
    "KeyringMode=private",
];
/// Lines that a unit lacks or has otherwise, each with its reason in the design.
const OTHERWISE: [(&str, &str); 9] = [
    // Asks for the uid of its callers.
    ("mox-submission", "PrivateUsers=yes"),
    ("mox-admin", "PrivateUsers=yes"),
    // Ask DNS or deliver.
    ("mox-admin", "PrivateNetwork=yes"),
    ("mox-admin", "IPAddressDeny=any"),
    ("mox-verify", "PrivateNetwork=yes"),
    ("mox-verify", "IPAddressDeny=any"),
    ("mox-queue", "PrivateNetwork=yes"),
    ("mox-queue", "IPAddressDeny=any"),
    // Writes the configuration that the others read.
    ("mox-admin", "UMask=0077"),
];
/// Those with a network of their own. They may score 2.0, the others 1.0.
const NETWORKED: [&str; 3] = ["mox-verify", "mox-queue", "mox-admin"];

fn name(unit: &Source) -> &str {
    unit.path.trim_start_matches("units/").trim_end_matches(".service")
}

/// The lines under the remark are the sandbox, in order.
fn mistakes(unit: &Source) -> Vec<String> {
    let name = name(unit);
    let Some((_, below)) = unit.text.split_once("\n# What it may not do; see systemd.exec(5). ") else {
        return vec![format!("{}: no sandbox", unit.path)];
    };
    let have: Vec<&str> = below.lines().skip(1).collect();
    let networked = NETWORKED.contains(&name);
    let want: Vec<&str> = SANDBOX
        .iter()
        .copied()
        .filter_map(|line| match line {
            "RestrictAddressFamilies=AF_UNIX" if networked => {
                Some("RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6")
            }
            "UMask=0077" if OTHERWISE.contains(&(name, line)) => Some("UMask=0027"),
            line if OTHERWISE.contains(&(name, line)) => None,
            line => Some(line),
        })
        .collect();
    if have == want {
        return Vec::new();
    }
    let missing =
        want.iter().filter(|line| !have.contains(line)).map(|line| format!("{}: wants {line}", unit.path));
    let strange =
        have.iter().filter(|line| !want.contains(line)).map(|line| format!("{}: has {line}", unit.path));
    let mut found: Vec<String> = missing.chain(strange).collect();
    if found.is_empty() {
        found.push(format!("{}: the sandbox is not in the usual order", unit.path));
    }
    found
}

fn services() -> Vec<Source> {
    let is_unit = |file: &Source| file.path.starts_with("units/mox-") && file.path.ends_with(".service");
    let units: Vec<Source> = sources().into_iter().filter(is_unit).collect();
    assert!(units.len() >= 8);
    units
}

#[test]
fn every_service_has_the_sandbox_in_its_order() {
    let mut units = services();
    nothing(&units.iter().flat_map(mistakes).collect::<Vec<_>>());

    let good = units.remove(0);
    let changed = |from: &str, to: &str| {
        assert!(good.text.contains(from));
        mistakes(&Source::example(&good.path, &good.text.replace(from, to)))
    };
    assert_eq!(changed("ProtectHome=yes\n", "").len(), 1, "left out");
    assert_eq!(changed("ProtectHome=yes\n", "ProtectHome=no\n").len(), 2, "weakened");
    let swapped = changed("ProtectHome=yes\nPrivateTmp=yes\n", "PrivateTmp=yes\nProtectHome=yes\n");
    assert_eq!(swapped, [format!("{}: the sandbox is not in the usual order", good.path)]);
    assert_eq!(changed("# What it may not do", "# What").len(), 1, "gone");
}

/// Tenths, as `systemd-analyze` prints them: `→ Overall exposure level for x.service: 0.4 SAFE`.
fn exposure(printed: &str) -> Option<u32> {
    let after = printed.split("Overall exposure level for ").nth(1)?.split(": ").nth(1)?;
    let (whole, tenths) = after.split_whitespace().next()?.split_once('.')?;
    Some(whole.parse::<u32>().ok()? * 10 + tenths.parse::<u32>().ok()?)
}

#[test]
fn exposure_stays_below_its_limit() {
    assert_eq!(exposure("x\n→ Overall exposure level for mox-a.service: 9.6 UNSAFE\n"), Some(96));
    assert_eq!(exposure("nothing"), None);
    for unit in services() {
        let path = repository().join(&unit.path);
        let Ok(out) =
            Command::new("systemd-analyze").args(["security", "--offline=true"]).arg(&path).output()
        else {
            // No systemd here; `make test` has it.
            return;
        };
        let printed = String::from_utf8_lossy(&out.stdout);
        let allowed = if NETWORKED.contains(&name(&unit)) { 20 } else { 10 };
        let score = exposure(&printed).unwrap_or_else(|| panic!("{}: {printed}", unit.path));
        assert!(score <= allowed, "{}: exposure {score} tenths, allowed {allowed}", unit.path);
    }
}

//! The build script of each program: what is released is linked small. Ten programs share most of their code; the
//! linker keeps one of several functions that came out the same, and writes relocations in the packed form (RELR,
//! glibc 2.36 and later). Together a sixth of the installed size.
//!
//! Both are asked of the linker that comes with Rust and is its default on this one target; others are left alone.

#![expect(clippy::print_stdout, reason = "so a build script speaks to Cargo")]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=../link.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|have| have == value);
    if is("PROFILE", "release") && is("TARGET", "x86_64-unknown-linux-gnu") && has_own_linker() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}

/// Toolchains of distributions leave it out and link with the system's.
fn has_own_linker() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let Ok(asked) = Command::new(rustc).args(["--print", "sysroot"]).output() else { return false };
    let sysroot = String::from_utf8_lossy(&asked.stdout);
    Path::new(sysroot.trim()).join("lib/rustlib/x86_64-unknown-linux-gnu/bin/gcc-ld/ld.lld").exists()
}

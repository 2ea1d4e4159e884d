//! Shell completion and man pages, made from the command definitions themselves.

use crate::Cli;
use clap::CommandFactory;
use std::io::Write;
use std::path::Path;

/// To standard output.
pub fn completion(shell: clap_complete::Shell) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(&script(shell))?)
}

/// A third of what clap writes: `mox help` would bring every command a second time, and bash wants no indentation.
fn script(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command().disable_help_subcommand(true), "mox", &mut script);
    if shell == clap_complete::Shell::Bash {
        let lines = script.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_start);
        // A line break counts as white space.
        script = lines.filter(|line| !line.is_empty()).flatten().copied().collect();
    }
    script
}

/// `mox.8` and one page a command.
pub fn man(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    page(&command, "mox", folder)
}

fn page(command: &clap::Command, name: &str, folder: &Path) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone())
        .title(name)
        .section("8")
        .manual("mox mail system")
        .render(&mut text)?;
    std::fs::write(folder.join(format!("{name}.8")), text)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        page(sub, &format!("{name}-{}", sub.get_name()), folder)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        man(dir.path()).unwrap();
        for name in ["mox", "mox-localserve", "mox-account-add", "mox-queue-list"] {
            let text = std::fs::read_to_string(dir.path().join(format!("{name}.8"))).unwrap();
            assert!(text.contains(".SH NAME"), "{name}");
        }
        assert!(!dir.path().join("mox-start-service.8").exists());
    }

    #[test]
    fn bash_completes_with_its_script() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script(clap_complete::Shell::Bash)).unwrap();
        let complete =
            "COMP_WORDS=(mox account a); COMP_CWORD=2; _mox mox a account; echo \"${COMPREPLY[@]}\"";
        let said = std::process::Command::new("bash")
            .args(["-euc", &format!("source {}; {complete}", file.path().display())])
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&said.stdout),
            "add\n",
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
    }

    /// Debian's build fails over a page that nobody installs, hours after the change that added it.
    #[test]
    fn both_packages_have_every_page() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let dir = tempfile::tempdir().unwrap();
        man(dir.path()).unwrap();
        // The page of a service stands for the command of that name.
        let install = |name: &str| {
            let path = root.join(format!("packaging-deb/debian/{name}.install"));
            std::fs::read_to_string(path).unwrap()
        };
        let debian = install("mox-cli") + &install("mox-queue") + &install("mox-admin");
        let fedora = std::fs::read_to_string(root.join("packaging-rpm/mox.spec")).unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let page = entry.unwrap().file_name().into_string().unwrap();
            // Pages of subcommands come by a pattern.
            if page.matches('-').count() > 1 {
                continue;
            }
            let lists = |text: &str, line: &str| text.lines().any(|known| known == line);
            assert!(
                lists(&debian, &format!("usr/share/man/man8/{page}")),
                "{page} is not in mox-cli.install"
            );
            assert!(lists(&fedora, &format!("%{{_mandir}}/man8/{page}*")), "{page} is not in mox.spec");
        }
    }
}

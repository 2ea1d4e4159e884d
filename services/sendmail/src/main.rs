//! `sendmail`, `mailq` and `newaliases` of mox: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    mox_sendmail::run(&words)
}

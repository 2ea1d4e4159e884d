//! `mox-imap`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mox_imap::main()
}

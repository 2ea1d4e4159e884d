//! `mox-smtp`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mox_smtp::main()
}

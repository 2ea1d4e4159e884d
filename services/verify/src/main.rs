//! `mox-verify`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mox_verify::main()
}

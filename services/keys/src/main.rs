//! `mox-keys`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mox_keys::main()
}

//! `mox-admin`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mox_admin::main()
}

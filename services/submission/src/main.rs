//! `mox-submission`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mox_submission::main()
}

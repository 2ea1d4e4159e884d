//! `mox-store`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mox_store::main()
}

//! `cargo test` needs no Erlang: this crate is for the VM, where only the Common Test suites can call it.

use std::path::Path;
use std::process::Command;

#[test]
#[ignore = "needs Erlang and rebar3; `make test-erlang` runs it with all other suites"]
fn nif_suite_passes() {
    let suites = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../script/suites");
    let status =
        Command::new(suites).arg("nif_SUITE").status().expect("script/suites can be started");
    assert!(status.success());
}

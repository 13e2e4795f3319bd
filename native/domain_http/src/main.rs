//! `mongoose-domain-http`: started by an Erlang node, never by hand.

#[cfg(target_os = "linux")]
#[path = "../../domain_nif/src/no_delay.rs"]
mod no_delay;

use std::process::ExitCode;

fn main() -> ExitCode {
    domain_http::run()
}

//! `insert_domain` and the like: the commands of older versions of `mongooseimctl`, by REST.

use crate::cli::{OlderCommand, OlderName, OlderPair};
use crate::client::{Client, Method, escaped};
use crate::error::Error;
use crate::output;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Sends the request and says in a word what was done.
pub fn run(command: &OlderCommand, client: &Client) -> Result<ExitCode, Error> {
    let change = |method, OlderName { domain }: &OlderName, body: Value| {
        client.change(method, &format!("/api/domains/{}", escaped(domain)), &body)
    };
    let done = match command {
        OlderCommand::Insert(OlderPair { name, host_type }) => {
            change(Method::Put, name, json!({"host_type": host_type}))?;
            "Added"
        }
        OlderCommand::Delete(OlderPair { name, host_type }) => {
            change(Method::Delete, name, json!({"host_type": host_type}))?;
            "Deleted"
        }
        OlderCommand::Enable(name) => {
            change(Method::Patch, name, json!({"enabled": true}))?;
            "Enabled"
        }
        OlderCommand::Disable(name) => {
            change(Method::Patch, name, json!({"enabled": false}))?;
            "Disabled"
        }
    };
    output::line(done)?;
    Ok(ExitCode::SUCCESS)
}

//! `mongoose-domainctl`: the domains of MongooseIM from the command line.
//!
//! A client of the node's HTTP interface, and nothing else: it knows no database and no Erlang, and
//! every rule about domains is the server's. `cli` says what can be asked, `config` where the server
//! is and who asks, `client` speaks HTTP; the other modules are the commands.

mod cli;
mod client;
mod config;
mod domain;
mod error;
mod export;
mod import;
mod manual;
mod older;
mod output;
mod status;

use crate::cli::{Cli, Command};
use crate::client::{Client, Limits};
use crate::config::Settings;
use crate::error::Error;
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        // Whoever read our output has gone: nobody is left to be told.
        Err(Error::OutputClosed) => ExitCode::FAILURE,
        Err(error) => {
            output::complain(format_args!("Error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Error> {
    let client = |limits| {
        let settings = Settings::find(&cli.connection, &|name| std::env::var(name).ok())?;
        for warning in &settings.warnings {
            output::complain(format_args!("Warning: {warning}"));
        }
        Client::new(&settings, limits)
    };
    match &cli.command {
        Command::Domain(command) => domain::run(command, &client(Limits::Command)?),
        Command::Older(command) => older::run(command, &client(Limits::Command)?),
        Command::Status { json } => status::status(*json, &client(Limits::Command)?),
        Command::Verify => status::verify(&client(Limits::Command)?),
        Command::Import(options) => import::run(options, &client(Limits::Stream)?),
        Command::Export(options) => export::run(options, &client(Limits::Stream)?),
        Command::Completions { shell } => manual::completions(*shell),
        Command::Man => manual::man(),
    }
}

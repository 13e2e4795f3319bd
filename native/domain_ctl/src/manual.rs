//! `completions` and `man`: what a package installs beside the program.

use crate::cli::{Cli, Shell};
use crate::error::Error;
use crate::output;
use clap::{Arg, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use std::io::{self, Write};
use std::process::ExitCode;

/// Prints the completions for a shell.
pub fn completions(shell: Shell) -> Result<ExitCode, Error> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(&script)
}

/// Prints the manual page: one for all commands.
pub fn man() -> Result<ExitCode, Error> {
    let mut page = Vec::new();
    render(&mut page).map_err(|error| output::failed(&error))?;
    print(&page)
}

fn print(text: &[u8]) -> Result<ExitCode, Error> {
    let mut out = io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush()).map_err(|error| output::failed(&error))?;
    Ok(ExitCode::SUCCESS)
}

fn render(page: &mut Vec<u8>) -> io::Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let man = Man::new(command.clone());
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    commands(&mut roff, &command);
    roff.control("SH", ["SETTINGS AND EXIT CODES"]);
    // As it is: it has a table in it.
    roff.control("nf", []);
    for line in command.get_after_help().map(ToString::to_string).unwrap_or_default().lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.to_writer(page)
}

/// The commands without commands of their own, each with its description and options.
fn commands(roff: &mut Roff, command: &Command) {
    for command in command.get_subcommands() {
        if command.has_subcommands() {
            commands(roff, command);
            continue;
        }
        roff.control("SS", [usage(command).as_str()]);
        let about = command.get_long_about().or_else(|| command.get_about());
        for line in about.map(ToString::to_string).unwrap_or_default().lines() {
            match line {
                "" => roff.control("PP", []),
                line => roff.text([roman(line)]),
            };
        }
        for argument in command.get_arguments().filter(|argument| is_own(argument)) {
            roff.control("TP", []);
            roff.text(name(argument));
            roff.text([roman(help(argument))]);
        }
    }
}

/// The options of the connection, and help, are the same everywhere: the page has them once.
fn is_own(argument: &Arg) -> bool {
    !argument.is_global_set() && argument.get_id() != "help"
}

fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    usage.trim_start_matches("Usage: mongoose-domainctl ").replace(" [OPTIONS]", "")
}

fn name(argument: &Arg) -> Vec<Inline> {
    let takes_value = argument.get_action().takes_values();
    let value = argument.get_value_names().unwrap_or_default().first();
    let value = value.filter(|_| takes_value).map(|name| name.to_string()).unwrap_or_default();
    match argument.get_long() {
        Some(long) => vec![bold(format!("--{long}")), roman(" "), italic(value)],
        None => vec![italic(value)],
    }
}

fn help(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let values = argument.get_possible_values();
    if values.is_empty() || !argument.get_action().takes_values() {
        return help;
    }
    let values: Vec<_> = values.iter().map(|value| value.get_name().to_owned()).collect();
    format!("{help} [{}]", values.join(", ")).trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command_and_its_options() {
        let mut page = Vec::new();
        render(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        for part in [
            ".TH mongoose-domainctl 1",
            ".SS \"domain addDomain --domain <DOMAIN> --hostType <HOST_TYPE>\"",
            ".SS \"insert_domain <DOMAIN> <HOST_TYPE>\"",
            ".SS \"import <FILE>\"",
            ".SS \"export [FILE]\"",
            "\\-\\-rejects",
            "MONGOOSE_DOMAINCTL_PASSWORD",
        ] {
            assert!(page.contains(part), "{part} in:\n{page}");
        }
    }
}

//! What can be asked on the command line (clap).

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
The server and the user are taken from the options, else from the environment, else from a TOML
file. There is no option for the password, because all users of a machine can see options.
The user name, password and authorities in the file are only for the server in the file, or for
the default server if it names none.

  option            environment                    key of the file
  --server          MONGOOSE_DOMAINCTL_SERVER      server
  --username        MONGOOSE_DOMAINCTL_USERNAME    username
  --password-file   MONGOOSE_DOMAINCTL_PASSWORD    password
  --ca-file         MONGOOSE_DOMAINCTL_CA_FILE     ca_file
  --config          MONGOOSE_DOMAINCTL_CONFIG

Exit codes: 0 all went well; 1 it failed; 2 the command line is wrong, or lines were rejected.";

/// Manages the domains of MongooseIM through the HTTP interface of a node.
#[derive(Debug, Parser)]
#[command(name = "mongoose-domainctl", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub connection: ConnectionOptions,
    #[command(subcommand)]
    pub command: Command,
}

/// Where the server is, and who asks.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionOptions {
    /// The node's HTTP interface, without credentials [default: http://127.0.0.1:8088]
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// The user name
    #[arg(long, global = true, value_name = "NAME")]
    pub username: Option<String>,
    /// A file with the password in its first line
    #[arg(long, global = true, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// The certificate authorities to trust (PEM), in place of the public ones
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The settings file [default: ~/.config/mongoose-domainctl.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// One domain, or lists of them, by GraphQL; prints the result as JSON
    #[command(subcommand)]
    Domain(DomainCommand),
    #[command(flatten)]
    Older(OlderCommand),
    /// Show how the node follows the database, and which nodes there are
    Status {
        /// Print what the server says: {"nodes": …, "status": …}
        #[arg(long)]
        json: bool,
    },
    /// Compare the node's table with the database; exit code 1 if they differ
    Verify,
    Import(ImportOptions),
    Export(ExportOptions),
    /// Print the completions for a shell
    Completions {
        shell: Shell,
    },
    /// Print the manual page (roff)
    Man,
}

/// The names of MongooseIM's GraphQL commands.
#[derive(Debug, Subcommand)]
#[command(rename_all = "camelCase")]
pub enum DomainCommand {
    /// Add a domain
    AddDomain(Pair),
    /// Remove a domain and its data; returns when it is gone
    RemoveDomain(Pair),
    /// Stop routing a domain now, and remove it and its data later
    RequestRemoveDomain(Pair),
    /// Let a domain route
    EnableDomain(Name),
    /// Keep a domain, but stop routing it
    DisableDomain(Name),
    /// Show what the configuration or the database says about a domain
    DomainDetails(Name),
    /// Set the password of a domain's administrator
    SetDomainPassword {
        #[command(flatten)]
        name: Name,
        /// A file with the new password in its first line; - is standard input
        #[arg(long = "new-password-file", value_name = "FILE")]
        new_password_file: PathBuf,
    },
    /// Delete the password of a domain's administrator
    DeleteDomainPassword(Name),
    /// List the domains of a host type that route
    DomainsByHostType {
        /// The host type
        #[arg(long = "hostType", value_name = "HOST_TYPE")]
        host_type: String,
    },
    /// List all domains
    AllDomains,
}

#[derive(Args, Debug)]
pub struct Name {
    /// The domain
    #[arg(long)]
    pub domain: String,
}

#[derive(Args, Debug)]
pub struct Pair {
    /// The domain
    #[arg(long)]
    pub domain: String,
    /// Its host type
    #[arg(long = "hostType", value_name = "HOST_TYPE")]
    pub host_type: String,
}

/// The commands of older versions of `mongooseimctl`.
#[derive(Debug, Subcommand)]
pub enum OlderCommand {
    /// Add a domain (older form)
    #[command(name = "insert_domain")]
    Insert(OlderPair),
    /// Remove a domain and its data (older form)
    #[command(name = "delete_domain")]
    Delete(OlderPair),
    /// Let a domain route (older form)
    #[command(name = "enable_domain")]
    Enable(OlderName),
    /// Keep a domain, but stop routing it (older form)
    #[command(name = "disable_domain")]
    Disable(OlderName),
}

#[derive(Args, Debug)]
pub struct OlderName {
    /// The domain
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub domain: String,
}

#[derive(Args, Debug)]
pub struct OlderPair {
    #[command(flatten)]
    pub name: OlderName,
    /// Its host type
    pub host_type: String,
}

/// Add many domains from a file
///
/// CSV has a record `domain,host_type[,status]` for each domain; a heading may give another order.
/// NDJSON has an object with these keys in each line. Both are in UTF-8. The status is `enabled` or
/// `disabled`. Empty lines and lines that begin with "# " are skipped. Unknown columns and keys are
/// an error of the whole file.
///
/// A domain that is there already gets the record's status, or is left as it is by one without; one
/// with another host type is rejected. So the same file can be imported again. A new domain without
/// a status is enabled.
///
/// FILE.progress notes how far the import is. If it is interrupted, the same command resumes there,
/// provided that FILE has not changed. At the end FILE.progress is deleted. Standard input has no
/// such file. If the server does not answer, the import retries for about a minute.
///
/// The exit code is 2 if lines were rejected. Each is written to the file of --rejects after a line
/// with the reason, `# line 17: domain is static`. That file can be corrected and then imported.
#[derive(Args, Debug)]
pub struct ImportOptions {
    /// The file, or - for standard input
    pub file: PathBuf,
    /// The format of the file [default: by its extension, .csv, .ndjson or .jsonl; csv for -]
    #[arg(long)]
    pub format: Option<Format>,
    /// Change nothing; show what would happen to each line by itself
    #[arg(long)]
    pub dry_run: bool,
    /// Where to write the rejected lines [default: the first 20 to standard error]
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,
    /// Begin with the first line, whatever FILE.progress says
    #[arg(long)]
    pub from_start: bool,
}

/// Write the domains of the database to a file
///
/// The file can be imported. It appears when it is complete; if the server fails in the middle, the
/// exit code is 1 and an older file of the name stays as it was. Static domains are not in it.
#[derive(Args, Debug)]
pub struct ExportOptions {
    /// The file, or - for standard output
    #[arg(default_value = "-")]
    pub file: PathBuf,
    /// The format of the file [default: by its extension, .csv, .ndjson or .jsonl; csv for -]
    #[arg(long)]
    pub format: Option<Format>,
    /// Only the domains of this host type
    #[arg(long, value_name = "HOST_TYPE")]
    pub host_type: Option<String>,
    /// Only the domains with this status
    #[arg(long)]
    pub status: Option<Status>,
}

/// What a file of domains is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Csv,
    Ndjson,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Status {
    Enabled,
    Disabled,
    Deleting,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Format {
    /// The format of a file: what the option says, else by its extension.
    pub fn of(file: &Path, option: Option<Format>) -> Option<Format> {
        if option.is_some() {
            return option;
        }
        if is_standard(file) {
            return Some(Format::Csv);
        }
        match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Format::Csv),
            "ndjson" | "jsonl" => Some(Format::Ndjson),
            _ => None,
        }
    }

    /// Its name in the HTTP interface.
    pub fn name(self) -> &'static str {
        self.of_records().name()
    }

    /// Its media type.
    pub fn content_type(self) -> &'static str {
        self.of_records().media_type()
    }

    /// The same, for who reads it.
    pub fn of_records(self) -> domain_records::Format {
        match self {
            Format::Csv => domain_records::Format::Csv,
            Format::Ndjson => domain_records::Format::Ndjson,
        }
    }
}

impl Status {
    /// Its name in the HTTP interface.
    pub fn name(self) -> &'static str {
        match self {
            Status::Enabled => "enabled",
            Status::Disabled => "disabled",
            Status::Deleting => "deleting",
        }
    }
}

/// Does it stand for standard input or output?
pub fn is_standard(file: &Path) -> bool {
    file == Path::new("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_format_is_the_option_else_by_the_extension() {
        let of = |file: &str, option| Format::of(Path::new(file), option);
        assert_eq!(of("a.csv", None), Some(Format::Csv));
        assert_eq!(of("a.CSV", None), Some(Format::Csv));
        assert_eq!(of("a.jsonl", None), Some(Format::Ndjson));
        assert_eq!(of("a.ndjson", None), Some(Format::Ndjson));
        assert_eq!(of("a.csv", Some(Format::Ndjson)), Some(Format::Ndjson));
        assert_eq!(of("-", None), Some(Format::Csv));
        assert_eq!(of("a.txt", None), None);
        assert_eq!(of("csv", None), None);
    }

    #[test]
    fn no_option_takes_a_password() {
        assert!(Cli::try_parse_from(["mongoose-domainctl", "--password", "x", "verify"]).is_err());
    }
}

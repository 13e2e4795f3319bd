//! Where the server is and who asks: from the options, else the environment, else a TOML file.

use crate::cli::{ConnectionOptions, is_standard};
use crate::error::Error;
use domain_records::keys;
use serde::Deserialize;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use url::{Host, Url};

const DEFAULT_SERVER: &str = "http://127.0.0.1:8088";
const DEFAULT_FILE: &str = ".config/mongoose-domainctl.toml";

/// Where the server is, and who asks.
#[derive(Debug)]
pub struct Settings {
    /// The URL of the server, without a slash at its end.
    pub server: String,
    /// Who asks, if the server wants to know.
    pub credentials: Option<Credentials>,
    /// The only certificate authorities to trust.
    pub ca_file: Option<PathBuf>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// A user's name and password.
pub struct Credentials {
    pub username: String,
    pub password: String,
}

/// Not the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// The keys of the TOML file.
const KEYS: [&str; 4] = ["server", "username", "password", "ca_file"];

/// The TOML file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Option<String>,
    username: Option<String>,
    password: Option<String>,
    ca_file: Option<PathBuf>,
}

type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// What the options, the environment and the file say.
    pub fn find(options: &ConnectionOptions, environment: Environment<'_>) -> Result<Self, Error> {
        // An empty variable is as good as none.
        let variable = |name: &str| {
            environment(&format!("MONGOOSE_DOMAINCTL_{name}")).filter(|value| !value.is_empty())
        };
        let mut warnings = Vec::new();
        let mut file = match config_file(options, &variable, environment) {
            Some(path) => read_config(&path, &mut warnings)?,
            None => File::default(),
        };
        let of_file = file.server.take().unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        let named = options.server.clone().or_else(|| variable("SERVER"));
        let server = checked_server(named.as_ref().unwrap_or(&of_file))?;
        // What the file says of its own server is for no other one.
        let is_same = |own: Url| without_slash(&own) == without_slash(&server);
        if !checked_server(&of_file).is_ok_and(is_same) {
            file = File::default();
        }
        let password = match &options.password_file {
            Some(path) => Some(read_password(path, &mut warnings)?),
            None => variable("PASSWORD").or(file.password),
        };
        let username = options.username.clone().or_else(|| variable("USERNAME")).or(file.username);
        let ca_file = options.ca_file.clone().or_else(|| variable("CA_FILE").map(PathBuf::from));
        let credentials = credentials(username, password)?;
        if credentials.is_some() && is_in_clear(&server) {
            warnings.push(format!(
                "the password goes to {} without encryption: use https://",
                without_slash(&server)
            ));
        }
        Ok(Settings {
            server: without_slash(&server).to_owned(),
            credentials,
            ca_file: ca_file.or(file.ca_file),
            warnings,
        })
    }
}

/// The file that was named; the default one only if it is there.
fn config_file(
    options: &ConnectionOptions,
    variable: Environment<'_>,
    environment: Environment<'_>,
) -> Option<PathBuf> {
    let named = options.config.clone().or_else(|| variable("CONFIG").map(PathBuf::from));
    let default = || environment("HOME").map(|home| Path::new(&home).join(DEFAULT_FILE));
    named.or_else(|| default().filter(|path| path.exists()))
}

fn read_config(path: &Path, warnings: &mut Vec<String>) -> Result<File, Error> {
    let text = fs::read_to_string(path).map_err(|error| Error::file(path, "read", &error))?;
    let mut file: File = toml::from_str(&text).map_err(|error| bad_config(path, &text, &error))?;
    if file.password.is_some() {
        warn_of_readers(path, warnings);
    }
    // Beside the file that names it.
    if let (Some(ca_file), Some(directory)) = (&mut file.ca_file, path.parent()) {
        *ca_file = directory.join(&ca_file);
    }
    Ok(file)
}

/// Not the error's own text: that shows the line, which may be that of the password.
fn bad_config(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let message = match error.message() {
        message if message.starts_with("unknown field") => message,
        message if message.starts_with("invalid type") => "a value is not a string",
        _ => "it is not valid TOML",
    };
    let meant = message.split('`').nth(1).and_then(|key| keys::meant(key, &KEYS));
    let meant = meant.map(|key| format!(": did you mean `{key}`?")).unwrap_or_default();
    Error::Settings(format!("{}, line {line}: {message}{meant}", path.display()))
}

fn read_password(path: &Path, warnings: &mut Vec<String>) -> Result<String, Error> {
    let password = first_line(path)?;
    warn_of_readers(path, warnings);
    Ok(password)
}

/// The password in a file.
pub fn first_line(path: &Path) -> Result<String, Error> {
    let text = match is_standard(path) {
        true => io::read_to_string(io::stdin()),
        false => fs::read_to_string(path),
    };
    let text = text.map_err(|error| Error::file(path, "read", &error))?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(password.to_owned()),
        _ => Err(Error::Settings(format!("{} has no password in its first line", path.display()))),
    }
}

fn warn_of_readers(path: &Path, warnings: &mut Vec<String>) {
    let is_file = |metadata: &fs::Metadata| metadata.is_file();
    let Some(metadata) = fs::metadata(path).ok().filter(is_file) else { return };
    if metadata.permissions().mode() & 0o077 != 0 {
        let path = path.display();
        warnings.push(format!("others may read the password in {path}: chmod 600 {path}"));
    }
}

fn credentials(
    username: Option<String>,
    password: Option<String>,
) -> Result<Option<Credentials>, Error> {
    let wrong = |text: &str| Err(Error::Settings(text.to_owned()));
    match (username, password) {
        (Some(username), Some(_)) if username.contains(':') => {
            wrong("a user name with a colon cannot be sent by HTTP")
        }
        (Some(username), Some(password)) => Ok(Some(Credentials { username, password })),
        (None, None) => Ok(None),
        (Some(_), None) => wrong(
            "there is a user name, but no password: use --password-file, \
             MONGOOSE_DOMAINCTL_PASSWORD or the key `password` in the settings file",
        ),
        (None, Some(_)) => wrong(
            "there is a password, but no user name: use --username, \
             MONGOOSE_DOMAINCTL_USERNAME or the key `username` in the settings file",
        ),
    }
}

/// Does not show a URL that is refused: there may be a password in it.
fn checked_server(text: &str) -> Result<Url, Error> {
    let wrong = |text: &str| Err(Error::Settings(format!("the URL of the server {text}")));
    if text.contains('@') {
        return wrong(
            "must not hold credentials: use --username and --password-file, or see \
             `mongoose-domainctl --help`",
        );
    }
    let Ok(url) = Url::parse(text) else {
        return wrong("is not valid: write it as http://HOST:PORT");
    };
    if !matches!(url.scheme(), "http" | "https") {
        return wrong("must begin with http:// or https://");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("must not contain ? or #");
    }
    Ok(url)
}

fn without_slash(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

/// Would others on the way see what is sent?
fn is_in_clear(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    };
    url.scheme() == "http" && !is_here
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own, as the home of a user.
    struct Home(PathBuf);

    impl Home {
        fn new(name: &str) -> Self {
            let name = format!("domain_ctl_config_{name}_{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(path.join(".config")).unwrap();
            Home(path)
        }

        fn write(&self, file: &str, text: &str, mode: u32) -> PathBuf {
            let path = self.0.join(file);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }

        fn find(
            &self,
            options: &ConnectionOptions,
            variables: &[(&str, &str)],
        ) -> Result<Settings, Error> {
            let home = self.0.to_str().unwrap().to_owned();
            Settings::find(options, &|name| {
                let of_name = |(key, _): &&(&str, &str)| {
                    name.strip_prefix("MONGOOSE_DOMAINCTL_") == Some(*key)
                };
                match name {
                    "HOME" => Some(home.clone()),
                    _ => variables.iter().find(of_name).map(|(_, value)| (*value).to_owned()),
                }
            })
        }

        fn error(&self, options: &ConnectionOptions, variables: &[(&str, &str)]) -> String {
            self.find(options, variables).unwrap_err().to_string()
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn options() -> ConnectionOptions {
        ConnectionOptions::default()
    }

    fn server(server: &str) -> ConnectionOptions {
        ConnectionOptions { server: Some(server.to_owned()), ..options() }
    }

    fn login(settings: &Settings) -> (&str, &str) {
        let credentials = settings.credentials.as_ref().unwrap();
        (&credentials.username, &credentials.password)
    }

    #[test]
    fn without_anything_it_is_the_local_node_without_credentials() {
        let settings = Home::new("nothing").find(&options(), &[]).unwrap();
        assert_eq!(settings.server, "http://127.0.0.1:8088");
        assert!(settings.credentials.is_none() && settings.ca_file.is_none());
        assert!(settings.warnings.is_empty());
    }

    #[test]
    fn an_option_goes_before_a_variable_and_that_before_the_file() {
        let home = Home::new("order");
        let text = "server = 'https://file'\nusername = 'f'\npassword = 'fp'\nca_file = 'ca.pem'\n";
        home.write(DEFAULT_FILE, text, 0o600);
        let settings = home.find(&options(), &[]).unwrap();
        assert_eq!(settings.server, "https://file");
        assert_eq!(login(&settings), ("f", "fp"));
        assert_eq!(settings.ca_file, Some(home.0.join(".config/ca.pem")));
        assert!(settings.warnings.is_empty());

        let variables = [
            ("SERVER", "https://variable/"),
            ("USERNAME", "v"),
            ("PASSWORD", "vp"),
            ("CA_FILE", "v.pem"),
        ];
        let settings = home.find(&options(), &variables).unwrap();
        assert_eq!(settings.server, "https://variable");
        assert_eq!(login(&settings), ("v", "vp"));
        assert_eq!(settings.ca_file, Some("v.pem".into()));

        let options = ConnectionOptions {
            server: Some("https://option/prefix/".to_owned()),
            username: Some("o".to_owned()),
            password_file: Some(home.write("password", "op\nsecond line\n", 0o600)),
            ca_file: Some("o.pem".into()),
            config: None,
        };
        let settings = home.find(&options, &variables).unwrap();
        assert_eq!(settings.server, "https://option/prefix");
        assert_eq!(login(&settings), ("o", "op"));
        assert_eq!(settings.ca_file, Some("o.pem".into()));
    }

    #[test]
    fn what_the_file_says_is_for_its_own_server() {
        let home = Home::new("own");
        let mine = "username = 'f'\npassword = 'fp'\nca_file = 'ca.pem'\n";
        let of = |file_server: &str, url: Option<&str>| {
            home.write(DEFAULT_FILE, &format!("{file_server}{mine}"), 0o600);
            let by_option = ConnectionOptions { server: url.map(str::to_owned), ..options() };
            let variable: Vec<_> = url.map(|url| ("SERVER", url)).into_iter().collect();
            [home.find(&by_option, &[]).unwrap(), home.find(&options(), &variable).unwrap()]
        };
        for (file_server, url) in [
            ("", None),
            ("", Some("http://127.0.0.1:8088/")),
            ("server = 'https://file/x/'\n", None),
            ("server = 'https://file/x/'\n", Some("https://FILE:443/x")),
        ] {
            for settings in of(file_server, url) {
                assert_eq!(login(&settings), ("f", "fp"), "{file_server} {url:?}");
                assert!(settings.ca_file.is_some());
            }
        }
        for (file_server, url) in [
            ("", "http://127.0.0.1:8089"),
            ("server = 'https://file'\n", "http://file"),
            ("server = 'https://file'\n", "https://file/x"),
            ("server = 'https://file'\n", "https://file.example"),
            ("server = 'https://file'\n", DEFAULT_SERVER),
            ("server = 'file'\n", DEFAULT_SERVER),
        ] {
            for settings in of(file_server, Some(url)) {
                assert!(settings.credentials.is_none(), "{file_server} {url}");
                assert!(settings.ca_file.is_none());
            }
        }
    }

    #[test]
    fn options_and_variables_are_for_any_server() {
        let home = Home::new("any");
        home.write(DEFAULT_FILE, "server = 'https://file'\npassword = 'fp'\n", 0o600);
        let variables = [("USERNAME", "v"), ("PASSWORD", "vp"), ("CA_FILE", "v.pem")];
        for options in [options(), server("https://option")] {
            let settings = home.find(&options, &variables).unwrap();
            assert_eq!(login(&settings), ("v", "vp"));
            assert_eq!(settings.ca_file, Some("v.pem".into()));
        }
        let error = home.error(&server("https://option"), &[("USERNAME", "v")]);
        assert!(error.starts_with("there is a user name, but no password"), "{error}");
    }

    #[test]
    fn an_empty_variable_is_none() {
        let home = Home::new("empty");
        let settings = home.find(&options(), &[("SERVER", ""), ("PASSWORD", "")]).unwrap();
        assert_eq!(settings.server, DEFAULT_SERVER);
        assert!(settings.credentials.is_none());
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let home = Home::new("named");
        home.write(DEFAULT_FILE, "server = 'https://default'\n", 0o600);
        let named = home.write("named.toml", "server = 'https://named'\n", 0o600);
        let named = named.to_str().unwrap();
        let settings = home.find(&options(), &[("CONFIG", named)]).unwrap();
        assert_eq!(settings.server, "https://named");
        let options = ConnectionOptions { config: Some("/no/such.toml".into()), ..options() };
        let error = home.error(&options, &[("CONFIG", named)]);
        assert!(error.starts_with("/no/such.toml cannot be read: "), "{error}");
    }

    #[test]
    fn mistakes_in_the_file_are_named_without_a_password() {
        let home = Home::new("mistakes");
        for (text, expected) in [
            ("server = 'https://x'\npasswrd = 's3cret'\n", "line 2: unknown field `passwrd`"),
            ("CA-file = 'x'\n", "`ca_file`: did you mean `ca_file`?"),
            ("password = s3cret\n", "line 1: it is not valid TOML"),
            ("\n\npassword = 's3cret\n", "line 3: it is not valid TOML"),
            ("password = ['s3cret']\n", "line 1: a value is not a string"),
            ("password = 53\n", "line 1: a value is not a string"),
            ("password = 's3cret'\n[http]\n", "line 2: unknown field `http`"),
        ] {
            home.write(DEFAULT_FILE, text, 0o600);
            let error = home.error(&options(), &[]);
            assert!(error.contains(expected) && !error.contains("s3cret"), "{text}: {error}");
        }
    }

    #[test]
    fn passwords_that_others_may_read_are_warned_of() {
        let home = Home::new("readable");
        let path = home.write(DEFAULT_FILE, "username = 'f'\npassword = 's3cret'\n", 0o640);
        let settings = home.find(&options(), &[]).unwrap();
        let path = path.display();
        let expected = format!("others may read the password in {path}: chmod 600 {path}");
        assert_eq!(settings.warnings, [expected]);
        home.write(DEFAULT_FILE, "server = 'https://x'\n", 0o644);
        assert!(home.find(&options(), &[]).unwrap().warnings.is_empty());
        let password_file = Some(home.write("password", "s3cret", 0o604));
        let options = ConnectionOptions { password_file, ..options() };
        let settings = home.find(&options, &[("USERNAME", "u")]).unwrap();
        assert_eq!(settings.warnings.len(), 1);
        assert_eq!(login(&settings), ("u", "s3cret"));
    }

    #[test]
    fn a_password_in_clear_is_warned_of_only_if_it_leaves_the_machine() {
        let home = Home::new("clear");
        let warnings = |url: &str| {
            let variables = [("USERNAME", "u"), ("PASSWORD", "s3cret")];
            home.find(&server(url), &variables).unwrap().warnings
        };
        assert_eq!(
            warnings("http://mim.example:8088"),
            ["the password goes to http://mim.example:8088 without encryption: use https://"]
        );
        for url in ["https://mim.example", "http://localhost:1", "http://[::1]", "http://127.1.2.3"]
        {
            assert!(warnings(url).is_empty(), "{url}");
        }
        assert!(home.find(&server("http://mim.example"), &[]).unwrap().warnings.is_empty());
    }

    #[test]
    fn bad_servers_are_refused_without_showing_them() {
        let home = Home::new("servers");
        for (url, expected) in [
            ("http://admin:s3cret@127.0.0.1:8088", "must not hold credentials"),
            ("admin:s3cret@127.0.0.1", "must not hold credentials"),
            ("127.0.0.1:8088", "is not valid"),
            ("localhost:8088", "must begin with http:// or https://"),
            ("ftp://s3cret", "must begin with http:// or https://"),
            ("http://x/?password=s3cret", "must not contain ?"),
            ("http://:8088", "is not valid"),
        ] {
            let error = home.error(&server(url), &[]);
            assert!(error.contains(expected) && !error.contains("s3cret"), "{url}: {error}");
        }
    }

    #[test]
    fn a_name_and_a_password_belong_together() {
        let home = Home::new("together");
        let error = home.error(&options(), &[("USERNAME", "u")]);
        assert!(error.starts_with("there is a user name, but no password"), "{error}");
        let error = home.error(&options(), &[("PASSWORD", "s3cret")]);
        assert!(error.starts_with("there is a password, but no user name"), "{error}");
        let error = home.error(&options(), &[("USERNAME", "a:b"), ("PASSWORD", "s3cret")]);
        assert!(error.starts_with("a user name with a colon"), "{error}");
        let empty = ConnectionOptions {
            password_file: Some(home.write("password", "\n", 0o600)),
            ..options()
        };
        let error = home.error(&empty, &[]);
        assert!(error.ends_with("password has no password in its first line"), "{error}");
    }

    #[test]
    fn debugging_shows_no_password() {
        let home = Home::new("debug");
        let variables = [("USERNAME", "u"), ("PASSWORD", "s3cret")];
        let settings = home.find(&options(), &variables).unwrap();
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}

//! HTTP to the server: requests out, JSON or a stream of bytes in, every failure as an `Error`.

use crate::config::{Credentials, Settings};
use crate::error::Error;
use crate::output::printable;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::typestate::{WithBody, WithoutBody};
use ureq::{Agent, Body, BodyReader, RequestBuilder, Timeout};

const CONNECT: Duration = Duration::from_secs(5);
/// For a whole command; in a stream for each read and each write. The server itself gives up a removal
/// after 120 s.
const ANSWER: Duration = Duration::from_secs(130);
/// So much of an answer that is not JSON is shown.
const SHOWN: usize = 60;

/// The characters that stay as they are in a URL (RFC 3986, "unreserved").
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How long the server may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// A short answer: [`ANSWER`] in all.
    Command,
    /// A body of any length that has to go on: [`ANSWER`] for each part of it.
    Stream,
}

/// Requests that change something, all of them with a body.
#[derive(Clone, Copy, Debug)]
pub enum Method {
    Delete,
    Patch,
    Post,
    Put,
}

/// A client of one server.
pub struct Client {
    agent: Agent,
    server: String,
    /// The value of the header `Authorization`.
    authorization: Option<String>,
}

impl Client {
    /// A client; connects when it is used.
    pub fn new(settings: &Settings, limits: Limits) -> Result<Self, Error> {
        let roots = match &settings.ca_file {
            Some(path) => RootCerts::Specific(Arc::new(certificates(path)?)),
            None => RootCerts::WebPki,
        };
        let stream = limits == Limits::Stream;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // The password goes to the server that was named and to nobody else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .user_agent(concat!("mongoose-domainctl/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_global((!stream).then_some(ANSWER))
            .timeout_per_read(stream.then_some(ANSWER))
            .timeout_per_write(stream.then_some(ANSWER))
            .build()
            .new_agent();
        let authorization = settings.credentials.as_ref().map(basic);
        Ok(Client { agent, server: settings.server.clone(), authorization })
    }

    /// The URL of the server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// GET, answered by JSON.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.json(self.open(path)?)
    }

    /// GET, answered by a stream of this type: a page of a proxy may come with 200, too.
    pub fn download(&self, path: &str, wanted: &str) -> Result<BodyReader<'static>, Error> {
        let response = self.open(path)?;
        let body = response.body();
        // Else one that was cut off looks whole.
        let headers = response.headers();
        if !headers.contains_key("content-length") && !headers.contains_key("transfer-encoding") {
            return Err(self.unexpected("a file without its length; no file was changed"));
        }
        if body.mime_type().is_some_and(|came| came.eq_ignore_ascii_case(wanted)) {
            return Ok(response.into_body().into_reader());
        }
        let came = body.mime_type().map_or_else(|| "no type".to_owned(), printable);
        Err(self.unexpected(format!("{came} instead of {wanted}; no file was changed")))
    }

    /// POST of JSON, answered by JSON.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Error> {
        self.json(self.send(Method::Post, path, body)?)
    }

    /// A change by REST, answered by a status alone.
    pub fn change(&self, method: Method, path: &str, body: &Value) -> Result<(), Error> {
        self.send(method, path, body).map(drop)
    }

    /// POST of lines, answered by a stream.
    pub fn upload(
        &self,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<BodyReader<'static>, Error> {
        let request = self.request(Method::Post, path).header("content-type", content_type);
        Ok(self.checked(request.send(body))?.into_body().into_reader())
    }

    /// What an error in the middle of a stream means.
    pub fn broken_off(&self, error: &io::Error) -> Error {
        Error::BrokenOff { url: self.server.clone(), why: reason(error) }
    }

    /// An answer that no node of ours gives.
    pub fn unexpected(&self, what: impl Into<String>) -> Error {
        Error::Unexpected { url: self.server.clone(), what: what.into() }
    }

    fn open(&self, path: &str) -> Result<Response<Body>, Error> {
        let request: RequestBuilder<WithoutBody> = self.agent.get(self.url(path));
        let request = match &self.authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        };
        self.checked(request.call())
    }

    fn send(&self, method: Method, path: &str, body: &Value) -> Result<Response<Body>, Error> {
        let request = self.request(method, path).header("content-type", "application/json");
        self.checked(request.send(body.to_string()))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder<WithBody> {
        let url = self.url(path);
        let request = match method {
            Method::Delete => self.agent.delete(url).force_send_body(),
            Method::Patch => self.agent.patch(url),
            Method::Post => self.agent.post(url),
            Method::Put => self.agent.put(url),
        };
        match &self.authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server)
    }

    /// A response whose status says that all is well.
    fn checked(
        &self,
        result: Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, Error> {
        let response = result.map_err(|error| self.failed(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let url = self.server.clone();
        let body = self.read(response)?;
        match (status.as_u16(), text_of_error(&body)) {
            (401, what) => {
                let what = what.unwrap_or_else(|| "credentials are required".to_owned());
                Err(Error::Unauthorized { url, what })
            }
            (status, Some(what)) => Err(Error::Refused { status, what }),
            (status, None) => {
                Err(Error::Unexpected { url, what: format!("HTTP {status}, {}", start_of(&body)) })
            }
        }
    }

    fn json<T: DeserializeOwned>(&self, response: Response<Body>) -> Result<T, Error> {
        let status = response.status().as_u16();
        let body = self.read(response)?;
        serde_json::from_slice(&body)
            .map_err(|_| self.unexpected(format!("HTTP {status}, {}", start_of(&body))))
    }

    fn read(&self, response: Response<Body>) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        let mut reader = response.into_body().into_reader();
        reader.read_to_end(&mut body).map_err(|error| self.broken_off(&error))?;
        Ok(body)
    }

    fn failed(&self, error: ureq::Error) -> Error {
        let url = self.server.clone();
        match error {
            ureq::Error::Tls(why) => Error::Tls { url, why: why.to_owned() },
            ureq::Error::Rustls(error) => Error::Tls { url, why: error.to_string() },
            // That is how rustls wraps what is wrong with a handshake or a certificate.
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                Error::Tls { url, why: error.to_string() }
            }
            ureq::Error::Protocol(error) => {
                self.unexpected(format!("not HTTP: {error}; does the URL need https://?"))
            }
            ureq::Error::HostNotFound => Error::Unreachable { url, why: "unknown host".to_owned() },
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                let why = format!("no connection within {} s", CONNECT.as_secs());
                Error::Unreachable { url, why }
            }
            ureq::Error::Timeout(_) => Error::Late { url, seconds: ANSWER.as_secs() },
            ureq::Error::Io(error) => Error::Unreachable { url, why: reason(&error) },
            error => Error::Unreachable { url, why: error.to_string() },
        }
    }
}

/// A name as a part of a URL.
pub fn escaped(name: &str) -> String {
    utf8_percent_encode(name, ESCAPED).to_string()
}

fn basic(Credentials { username, password }: &Credentials) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

fn reason(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    match inner {
        Some(ureq::Error::Timeout(_)) => {
            format!("no more data came within {} s", ANSWER.as_secs())
        }
        _ if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the server closed the connection".to_owned()
        }
        _ => error.to_string(),
    }
}

/// The text of an error's body: `{"what": …}`, or the first error of GraphQL.
fn text_of_error(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let what = body.get("what").or_else(|| body.pointer("/errors/0/message"))?;
    Some(printable(what.as_str()?))
}

fn start_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let start: String = text.trim().chars().take(SHOWN).collect();
    if start.is_empty() { "an empty body".to_owned() } else { format!("`{}`", printable(&start)) }
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let pem = std::fs::read(path).map_err(|error| Error::file(path, "read", &error))?;
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => (),
            Err(_) => {
                let text = format!("the file {} is not valid PEM", path.display());
                return Err(Error::Settings(text));
            }
        }
    }
    if certificates.is_empty() {
        let text = format!("the file {} has no certificate in it (PEM)", path.display());
        return Err(Error::Settings(text));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_for_urls() {
        assert_eq!(escaped("a-b.example"), "a-b.example");
        assert_eq!(escaped("a/b?c d%"), "a%2Fb%3Fc%20d%25");
        assert_eq!(escaped("bücher.example"), "b%C3%BCcher.example");
    }

    #[test]
    fn the_text_of_an_error_is_what_or_the_first_message() {
        assert_eq!(text_of_error(br#"{"what":"duplicate"}"#), Some("duplicate".to_owned()));
        let errors = br#"{"errors":[{"message":"first"},{"message":"second"}]}"#;
        assert_eq!(text_of_error(errors), Some("first".to_owned()));
        assert_eq!(text_of_error(b"<html>"), None);
        assert_eq!(text_of_error(br#"{"what":1}"#), None);
    }

    #[test]
    fn credentials_are_sent_as_basic_auth() {
        // The example of RFC 7617.
        let credentials =
            Credentials { username: "Aladdin".to_owned(), password: "open sesame".to_owned() };
        assert_eq!(basic(&credentials), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}

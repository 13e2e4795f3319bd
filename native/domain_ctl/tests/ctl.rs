//! The program against a server that answers as each test says: what a real node does only now and
//! then, or never. `test/ctl_SUITE.erl` has the rest, with a real one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What the program sent: the first line, the other lines of the head, the body.
#[derive(Clone)]
struct Request {
    line: String,
    head: String,
    body: String,
}

/// A server that answers one request per connection by the bytes that a function makes of it.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(answer: impl Fn(&Request) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = receive(&stream) else { continue };
                received.lock().unwrap().push(request.clone());
                let _ = stream.write_all(&answer(&request));
            }
        });
        Server { url, requests }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The bodies of what was imported, but for the empty one at the beginning of each import.
    fn imported(&self) -> Vec<String> {
        let bodies = self.requests().into_iter().map(|request| request.body);
        bodies.filter(|body| !body.is_empty()).collect()
    }
}

fn receive(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let before = head.len();
        reader.read_line(&mut head).ok()?;
        let field = head[before..].trim().to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Some(Request { line: line.trim().to_owned(), head, body })
}

fn response(status: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

fn json(body: &str) -> Vec<u8> {
    response("200 OK", "application/json", body)
}

/// A chunked body that ends without its end.
fn broken_off(body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n{length:x}\r\n{body}\r\n"
    )
    .into_bytes()
}

/// A body that is shorter than it should be.
fn cut_off(body: &str) -> Vec<u8> {
    let length = body.len() + 1;
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// All lines of a request are added.
fn all_added(request: &Request) -> Vec<u8> {
    let lines = request.body.lines().count();
    json(&format!(
        "{{\"done\":{{\"lines\":{lines},\"added\":{lines},\"changed\":0,\"unchanged\":0,\
         \"rejected\":0,\"lag\":0}}}}\n"
    ))
}

/// The program without any settings but these.
fn program(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mongoose-domainctl"));
    command.env_clear().env("MONGOOSE_DOMAINCTL_SERVER", url).args(arguments);
    command
}

fn run(url: &str, arguments: &[&str]) -> Output {
    program(url, arguments).stdin(Stdio::null()).output().unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("domain_ctl_test_{name}_{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = fs::read_dir(&self.0).unwrap().map(name).collect();
        names.sort();
        names.into_iter().map(|name| name.into_string().unwrap()).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn csv(from: usize, to: usize) -> String {
    (from..=to).map(|number| format!("d{number}.example,type1\n")).collect()
}

// What is no node of ours

#[test]
fn an_answer_that_is_not_json_is_shown() {
    let server = Server::start(|_| response("200 OK", "text/html", "<html>\n<body>It works!"));
    let output = run(&server.url, &["status"]);
    assert_eq!(code(&output), Some(1));
    let expected = format!(
        "Error: unexpected answer from {} (HTTP 200, `<html>\\n<body>It works!`): is it a domain \
         node?\n",
        server.url
    );
    assert_eq!(stderr(&output), expected);
    let server = Server::start(|_| response("404 Not Found", "text/plain", ""));
    let output = run(&server.url, &["insert_domain", "a.example", "type1"]);
    assert_eq!(code(&output), Some(1));
    assert!(stderr(&output).contains("(HTTP 404, an empty body)"), "{}", stderr(&output));
    let server = Server::start(|_| b"SSH-2.0-OpenSSH_9.2\r\n".to_vec());
    let output = run(&server.url, &["verify"]);
    assert_eq!(code(&output), Some(1));
    assert!(stderr(&output).contains("(not HTTP: "), "{}", stderr(&output));
}

#[test]
fn a_redirection_is_not_followed() {
    let elsewhere = Server::start(|_| json("{\"result\":\"ok\"}"));
    let location = elsewhere.url.clone();
    let server = Server::start(move |_| {
        let head = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\nLocation: ";
        format!("{head}{location}\r\n\r\n").into_bytes()
    });
    let output = program(&server.url, &["status"])
        .env("MONGOOSE_DOMAINCTL_USERNAME", "admin")
        .env("MONGOOSE_DOMAINCTL_PASSWORD", "s3cret")
        .output()
        .unwrap();
    assert_eq!(code(&output), Some(1));
    assert!(stderr(&output).contains("HTTP 302"), "{}", stderr(&output));
    assert!(server.requests()[0].head.to_lowercase().contains("authorization: basic "));
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_server_without_tls_is_an_error_of_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&response("400 Bad Request", "text/plain", "")).unwrap();
        // Closed with something unread it would be reset.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let output = run(&url, &["verify"]);
    let expected = format!(
        "Error: the TLS connection to {url} failed: received corrupt message of type \
             InvalidContentType\n"
    );
    assert_eq!((code(&output), stderr(&output)), (Some(1), expected));
}

#[test]
fn names_are_escaped_in_the_path() {
    let server = Server::start(|_| response("204 No Content", "text/plain", ""));
    let output = run(&server.url, &["delete_domain", "a/b?c%.ä", "type \"1\""]);
    assert_eq!((code(&output), stdout(&output)), (Some(0), "Deleted\n".to_owned()));
    let request = server.requests().remove(0);
    assert_eq!(request.line, "DELETE /api/domains/a%2Fb%3Fc%25.%C3%A4 HTTP/1.1");
    assert_eq!(request.body, "{\"host_type\":\"type \\\"1\\\"\"}");
}

// Exports

#[test]
fn an_export_that_breaks_off_leaves_no_file_and_an_older_one_as_it_was() {
    for answer in [broken_off, cut_off] {
        an_export_breaks_off(answer);
    }
}

fn an_export_breaks_off(answer: fn(&str) -> Vec<u8>) {
    let server =
        Server::start(move |_| answer("domain,host_type,status\na.example,type1,enabled\n"));
    let directory = Directory::new("export");
    let file = directory.file("domains.csv");
    let expected = format!(
        "Error: the answer from {} was cut off: the server closed the connection\n",
        server.url
    );
    for before in [None, Some("older")] {
        if let Some(before) = before {
            fs::write(&file, before).unwrap();
        }
        let output = run(&server.url, &["export", text(&file)]);
        assert_eq!((code(&output), stderr(&output)), (Some(1), expected.clone()));
        assert_eq!(fs::read_to_string(&file).ok().as_deref(), before);
    }
    assert_eq!(directory.names(), ["domains.csv"]);
    let output = run(&server.url, &["export"]);
    assert_eq!((code(&output), stderr(&output)), (Some(1), expected));
}

#[test]
fn what_is_no_export_is_written_nowhere() {
    let server = Server::start(|request| match request.line.contains("ndjson") {
        true => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}".to_vec(),
        false => response("200 OK", "text/html; charset=utf-8", "<h1>Log in</h1>"),
    });
    let directory = Directory::new("no_export");
    let error = |came: &str| {
        let url = &server.url;
        format!(
            "Error: unexpected answer from {url} ({came}; no file was changed): is it a domain \
             node?\n"
        )
    };
    for (name, expected) in [
        ("domains.csv", error("text/html instead of text/csv")),
        ("domains.ndjson", error("no type instead of application/x-ndjson")),
    ] {
        let file = directory.file(name);
        fs::write(&file, "older").unwrap();
        let output = run(&server.url, &["export", text(&file)]);
        assert_eq!((code(&output), stderr(&output)), (Some(1), expected));
        assert_eq!(fs::read_to_string(&file).unwrap(), "older");
    }
    assert_eq!(directory.names(), ["domains.csv", "domains.ndjson"]);
    let output = run(&server.url, &["export"]);
    assert_eq!((code(&output), stdout(&output)), (Some(1), String::new()));
}

#[test]
fn an_export_that_cannot_be_told_from_one_that_was_cut_off_is_no_export() {
    let server = Server::start(|_| {
        b"HTTP/1.0 200 OK\r\nContent-Type: text/csv\r\n\r\ndomain,host_type,status\n".to_vec()
    });
    let output = run(&server.url, &["export"]);
    assert_eq!((code(&output), stdout(&output)), (Some(1), String::new()));
    assert!(stderr(&output).contains("a file without its length"), "{}", stderr(&output));
}

#[test]
fn an_export_to_a_link_replaces_what_it_leads_to() {
    let server = Server::start(|_| response("200 OK", "text/csv", "domain,host_type,status\n"));
    let directory = Directory::new("link");
    let (file, link) = (directory.file("real.csv"), directory.file("link.csv"));
    fs::write(&file, "older").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let output = run(&server.url, &["export", text(&link)]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&file).unwrap(), "domain,host_type,status\n");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

    let output = run(&server.url, &["export", "/dev/null", "--format", "csv"]);
    assert_eq!(code(&output), Some(1));
    assert_eq!(
        stderr(&output),
        "Error: /dev/null is not a regular file: use - for standard output\n"
    );
}

// Imports

#[test]
fn a_request_that_fails_is_repeated_from_the_first_line_that_is_not_done() {
    let tried = Mutex::new(0);
    let server = Server::start(move |request| {
        if request.body.is_empty() {
            return all_added(request);
        }
        let mut tried = tried.lock().unwrap();
        *tried += 1;
        let rejected = "{\"rejected\":{\"line\":2,\"text\":\"\",\"reason\":\"duplicate\"}}\n\
                        {\"rejected\":{\"line\":5,\"text\":\"\",\"reason\":\"not done\"}}\n";
        let progress = "{\"progress\":{\"lines\":3,\"added\":2,\"changed\":0,\"unchanged\":0,\
                        \"rejected\":1}}\n";
        match *tried {
            1 => json(&format!(
                "{rejected}{progress}{{\"error\":{{\"what\":\"database error\",\"lines\":3}}}}\n"
            )),
            2 => broken_off(&format!("{rejected}{progress}")),
            3 => response("503 Service Unavailable", "application/json", "{\"what\":\"not now\"}"),
            _ => all_added(request),
        }
    });
    let directory = Directory::new("repeated");
    let file = directory.file("domains.csv");
    fs::write(&file, format!("domain,host_type\n{}", csv(1, 10))).unwrap();
    let output = run(&server.url, &["import", text(&file)]);
    assert_eq!(code(&output), Some(2));
    let expected = [csv(1, 10), csv(4, 10), csv(7, 10), csv(7, 10)];
    assert_eq!(server.imported(), expected);
    let expected = format!(
        "line 3: duplicate: d2.example,type1\n\
         database error; retrying in 1 s\n\
         line 6: duplicate: d5.example,type1\n\
         the answer from {} was cut off: the server closed the connection; retrying in 1 s\n\
         not now; retrying in 2 s\n",
        server.url
    );
    assert_eq!(stderr(&output), expected);
    let counts = "lines      10\nadded      8\nchanged    0\nunchanged  0\nrejected   2\n";
    assert!(stdout(&output).starts_with(counts), "{}", stdout(&output));
    assert_eq!(directory.names(), ["domains.csv"]);
}

#[test]
fn an_import_that_was_killed_goes_on_where_it_was() {
    let directory = Directory::new("killed");
    let (file, rejects) = (directory.file("domains.csv"), directory.file("rejects.csv"));
    fs::write(&file, csv(1, 12_000)).unwrap();
    let arguments = ["import", text(&file), "--rejects", text(&rejects)];
    let server = Server::start(|request| {
        if request.body.starts_with("d1.") {
            let rejected = "{\"rejected\":{\"line\":17,\"text\":\"\",\"reason\":\"duplicate\"}}\n";
            let done = "{\"done\":{\"lines\":5000,\"added\":4999,\"changed\":0,\"unchanged\":0,\
                        \"rejected\":1,\"lag\":null}}\n";
            return json(&format!("{rejected}{done}"));
        }
        if request.body.starts_with("d5001.") {
            // Never answers.
            loop {
                thread::park();
            }
        }
        all_added(request)
    });
    let mut killed = program(&server.url, &arguments).spawn().unwrap();
    let began = Instant::now();
    while server.imported().len() < 2 {
        assert!(began.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(10));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(directory.names(), ["domains.csv", "domains.csv.progress", "rejects.csv"]);

    // The address is part of what is noted; so the notes are made to be of the next server.
    let next = Server::start(all_added);
    let notes = directory.file("domains.csv.progress");
    let moved = fs::read_to_string(&notes).unwrap().replace(&server.url, &next.url);
    fs::write(&notes, moved).unwrap();
    fs::write(&rejects, fs::read_to_string(&rejects).unwrap() + "not noted any more\n").unwrap();
    let output = run(&next.url, &arguments);
    assert_eq!(code(&output), Some(2), "{}", stderr(&output));
    assert_eq!(next.imported(), [csv(5_001, 10_000), csv(10_001, 12_000)]);
    let expected = format!(
        "resuming after line 5000 of {}\n\
         the rejected lines are in {}: correct them there and import that file\n",
        file.display(),
        rejects.display()
    );
    assert_eq!(stderr(&output), expected);
    let counts = "lines      12000\nadded      11999\nchanged    0\nunchanged  0\nrejected   1\n";
    assert!(stdout(&output).starts_with(counts), "{}", stdout(&output));
    assert_eq!(fs::read_to_string(&rejects).unwrap(), "# line 17: duplicate\nd17.example,type1\n");
    assert_eq!(directory.names(), ["domains.csv", "rejects.csv"]);
}

#[test]
fn of_a_file_that_is_wrong_somewhere_nothing_is_sent() {
    let server = Server::start(all_added);
    let directory = Directory::new("wrong");
    let record = |key: &str| format!("{{\"domain\":\"a.example\",\"{key}\":\"type1\"}}\n");
    for (name, content, expected) in [
        (
            "a.ndjson",
            format!("{}{}", record("host_type").repeat(6_000), record("hostType")),
            "line 6001: unknown key 'hostType': did you mean 'host_type'?",
        ),
        (
            "a.csv",
            "domain,host_type,note\na,t,n\n".to_owned(),
            "line 1: unknown column 'note': the known ones are domain, host_type, status",
        ),
        ("b.csv", "\u{0}a\n".to_owned(), "the file is UTF-16: save it as UTF-8"),
    ] {
        let file = directory.file(name);
        fs::write(&file, content).unwrap();
        let output = run(&server.url, &["import", text(&file)]);
        let expected = format!("Error: {} cannot be read: {expected}\n", file.display());
        assert_eq!((code(&output), stderr(&output)), (Some(1), expected));
    }
    assert!(server.imported().is_empty());
}

#[test]
fn rejected_records_can_be_imported_whatever_the_order_of_the_columns() {
    let server = Server::start(|request| {
        if request.body.is_empty() {
            return all_added(request);
        }
        let rejected = "{\"rejected\":{\"line\":3,\"text\":\"\",\"reason\":\"duplicate\"}}\n";
        let done = "{\"done\":{\"lines\":4,\"added\":1,\"changed\":0,\"unchanged\":0,\
                    \"rejected\":1,\"lag\":0}}\n";
        json(&format!("{rejected}{done}"))
    });
    let directory = Directory::new("columns");
    let (file, rejects) = (directory.file("domains.csv"), directory.file("rejects.csv"));
    fs::write(&file, "host_type,Domain\nt,a\nt,\"b\nb\"\nt,c\"c\nx\n").unwrap();
    let output = run(&server.url, &["import", text(&file), "--rejects", text(&rejects)]);
    assert_eq!(code(&output), Some(2), "{}", stderr(&output));
    assert_eq!(server.imported(), ["host_type,domain\nt,a\nt,\"b\nb\"\n"]);
    let counts = "lines      4\nadded      1\nchanged    0\nunchanged  0\nrejected   3\n";
    assert!(stdout(&output).starts_with(counts), "{}", stdout(&output));
    let expected = "host_type,domain\n\
                    # line 3: duplicate\nt,\"b\nb\"\n\
                    # line 5: a quotation mark is not closed\nt,c\"c\n\
                    # line 6: a line has two fields: host_type,domain\nx\n";
    assert_eq!(fs::read_to_string(&rejects).unwrap(), expected);
}

#[test]
fn progress_of_another_import_is_not_gone_on_with() {
    let directory = Directory::new("another");
    let file = directory.file("domains.csv");
    fs::write(&file, csv(1, 3)).unwrap();
    fs::write(directory.file("domains.csv.progress"), "{}").unwrap();
    let server = Server::start(all_added);
    let output = run(&server.url, &["import", text(&file), "--from-start"]);
    assert_eq!((code(&output), stderr(&output)), (Some(0), String::new()));
    fs::write(directory.file("domains.csv.progress"), "{}").unwrap();
    let output = run(&server.url, &["import", text(&file)]);
    assert_eq!(code(&output), Some(0));
    let expected = format!(
        "{}.progress belongs to another import: starting at the first line\n",
        file.display()
    );
    assert_eq!(stderr(&output), expected);
    assert_eq!(server.imported(), [csv(1, 3), csv(1, 3)]);
    assert_eq!(directory.names(), ["domains.csv"]);
}

#[test]
fn rejected_credentials_end_an_import_at_once() {
    let server = Server::start(|request| {
        if request.body.is_empty() {
            return all_added(request);
        }
        let what = "{\"what\":\"basic auth provided, invalid password\"}";
        response("401 Unauthorized", "application/json", what)
    });
    let directory = Directory::new("credentials");
    let file = directory.file("domains.ndjson");
    fs::write(&file, "{\"domain\":\"a.example\",\"host_type\":\"type1\"}\n").unwrap();
    let output = run(&server.url, &["import", text(&file)]);
    assert_eq!(code(&output), Some(1));
    let expected = format!(
        "Error: {} refuses the login: basic auth provided, invalid password: check the user name \
         and the password (--username and --password-file, or see `mongoose-domainctl --help`)\n\
         no line is done yet: repeat the command\n",
        server.url
    );
    assert_eq!(stderr(&output), expected);
    assert!(server.requests()[1].head.to_lowercase().contains("application/x-ndjson"));
}

#[test]
fn a_file_that_is_not_one_of_domains_is_refused() {
    let server = Server::start(all_added);
    let directory = Directory::new("refused");
    let file = directory.file("domains.csv");
    fs::write(&file, "x".repeat(100_000)).unwrap();
    let output = run(&server.url, &["import", text(&file)]);
    assert_eq!(code(&output), Some(1));
    let name = file.display();
    let expected = format!("Error: {name} cannot be read: line 1 is too long\n");
    assert_eq!(stderr(&output), expected);
    let output = run(&server.url, &["import", text(&file), "--rejects", text(&file)]);
    assert_eq!(code(&output), Some(1));
    assert_eq!(stderr(&output), "Error: --rejects names the imported file: name another file\n");
    assert_eq!(fs::metadata(&file).unwrap().len(), 100_000);
    let output = run(&server.url, &["import", "domains.txt"]);
    assert_eq!(code(&output), Some(1));
    let expected = "Error: the name of domains.txt does not give its format: add --format csv or \
                    --format ndjson\n";
    assert_eq!(stderr(&output), expected);
}

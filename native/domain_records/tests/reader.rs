//! What is read of files, clean and not, in whatever pieces they come.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use domain_records::{Format, LONGEST, Reader, Record};
use proptest::prelude::*;

/// What was read: the line, and the record or the reason.
type Read = Vec<(u64, Result<Record, String>)>;

/// Reads a file in pieces of this size.
fn read_by(format: Format, file: &[u8], size: usize) -> Result<Read, String> {
    let mut reader = Reader::new(format);
    let mut read = Vec::new();
    for piece in file.chunks(size.max(1)).map(Some).chain([None]) {
        match piece {
            Some(piece) => reader.push(piece),
            None => reader.finish(),
        }
        while let Some(item) = reader.next_item().map_err(|error| error.to_string())? {
            read.push((item.line, item.record));
        }
    }
    assert_eq!(reader.position().bytes, file.len() as u64);
    assert_eq!(reader.position().lines, domain_records::count_lines(file));
    Ok(read)
}

/// The same, whatever the size is.
fn read(format: Format, file: impl AsRef<[u8]>) -> Result<Read, String> {
    let file = file.as_ref();
    let whole = read_by(format, file, file.len());
    for size in [1, 2, 3, 7] {
        assert_eq!(read_by(format, file, size), whole, "pieces of {size}");
    }
    whole
}

fn csv(file: impl AsRef<[u8]>) -> Result<Read, String> {
    read(Format::Csv, file)
}

fn record(domain: &str, host_type: &str, enabled: Option<bool>) -> Result<Record, String> {
    Ok(Record { domain: domain.into(), host_type: host_type.into(), enabled })
}

/// `a` and `b`, clean, from these lines.
fn a_and_b(lines: [u64; 2]) -> Result<Read, String> {
    let [a, b] = lines;
    Ok(vec![(a, record("a", "t", None)), (b, record("b", "t", Some(false)))])
}

#[test]
fn every_end_of_a_line_ends_a_record() {
    for file in ["a,t\nb,t,disabled", "a,t\r\nb,t,disabled\r\n", "a,t\rb,t,disabled\r"] {
        assert_eq!(csv(file), a_and_b([1, 2]), "{file:?}");
    }
    assert_eq!(csv("\n\r\n  \na,t\r\r# no\r\nb,t,disabled"), a_and_b([4, 7]));
    for end in ["\n", "\r\n", "\r"] {
        let json = [
            r#"{"domain":"a","host_type":"t"}"#,
            r#" {"status": "disabled", "host_type": "t", "domain": "\u0062"} "#,
        ];
        assert_eq!(read(Format::Ndjson, json.join(end)), a_and_b([1, 2]), "{end:?}");
    }
}

#[test]
fn line_feeds_in_quotation_marks_are_part_of_a_field_and_count() {
    let file = "\"a\nb\r\nc\",t\r\nx,\"t\n\"\ny,t";
    let expected = vec![
        (1, record("a\nb\r\nc", "t", None)),
        (4, record("x", "t\n", None)),
        (6, record("y", "t", None)),
    ];
    assert_eq!(csv(file), Ok(expected));
}

#[test]
fn headings_are_known_in_any_case_with_blanks_or_quotation_marks_and_in_any_order() {
    for heading in [
        "domain,host_type,status",
        "DOMAIN,Host_Type,STATUS",
        " domain , host_type ,status\t",
        "\"domain\",\"host_type\",\"status\"",
        "\u{feff}\"domain\", \"Host_Type\" ,status",
    ] {
        assert_eq!(csv(format!("{heading}\na,t\nb,t,disabled\n")), a_and_b([2, 3]), "{heading}");
    }
    let file = "status,host_type,domain\n,t,a\ndisabled,t,b\n";
    assert_eq!(csv(file), a_and_b([2, 3]));
    assert_eq!(csv("host_type,domain\nt,a\n"), Ok(vec![(2, record("a", "t", None))]));
    assert_eq!(csv("domain,host_type\n"), Ok(vec![]));
    assert_eq!(csv("\u{feff}a,t"), Ok(vec![(1, record("a", "t", None))]));
}

#[test]
fn unknown_columns_and_keys_end_the_file() {
    for (heading, expected) in [
        ("domain,hostType", "unknown column 'hostType': did you mean 'host_type'?"),
        (
            "domain,host_type,note",
            "unknown column 'note': the known ones are domain, host_type, status",
        ),
        ("domain,host_type,", "unknown column '': the known ones are domain, host_type, status"),
        ("domain,status", "the column 'host_type' is missing"),
        ("domain,host_type,Domain", "the column 'domain' is given twice"),
    ] {
        assert_eq!(csv(format!("\n{heading}\na,t")), Err(format!("line 2: {expected}")));
    }
    for (key, expected) in [
        ("host-type", "unknown key 'host-type': did you mean 'host_type'?"),
        ("note", "unknown key 'note': the known ones are domain, host_type, status"),
    ] {
        let file = format!("{{\"domain\":\"a\",\"{key}\":\"t\"}}\n");
        assert_eq!(read(Format::Ndjson, file), Err(format!("line 1: {expected}")));
    }
}

/// The reasons with their lines.
fn reasons(read: Result<Read, String>) -> Vec<(u64, String)> {
    read.unwrap().into_iter().filter_map(|(line, record)| Some((line, record.err()?))).collect()
}

#[test]
fn what_is_not_clean_is_given_with_the_reason() {
    let inside = "quotation marks must be around a whole field, and doubled inside of it";
    let open = "a quotation mark is not closed";
    let count = "a line has two or three fields: domain,host_type,status";
    for (line, expected) in [
        ("\"a\"b,t", inside),
        ("a\"b\",t", inside),
        ("\"a\" ,t", inside),
        ("a, \"t\"", inside),
        ("a\"b,t", open),
        ("\"a,t", open),
        ("a,\"t", open),
        ("a", count),
        ("a,t,enabled,more", count),
        ("a,t,,,,,,,,,,,,,,,,,,", count),
        ("a,t,on", "status must be enabled or disabled"),
    ] {
        let file = format!("first,t\n{line}\nlast,t\n");
        assert_eq!(reasons(csv(&file)), [(2, expected.to_owned())], "{line}");
        // The lines around it are read.
        assert_eq!(csv(&file).unwrap().len(), 3, "{line}");
    }
    let two = reasons(csv("domain,host_type\na,t,enabled\n"));
    assert_eq!(two, [(2, "a line has two fields: domain,host_type".to_owned())]);
}

#[test]
fn what_is_no_record_of_json_is_given_with_the_reason() {
    let object = "a line must be an object with domain, host_type and status";
    for (line, expected) in [
        ("{", "key must be a string"),
        ("{\"domain\":\"a\"}", "missing field `host_type`"),
        ("{\"domain\":1,\"host_type\":\"t\"}", "invalid type: integer `1`, expected a string"),
        ("{\"domain\":\"a\",\"domain\":\"b\",\"host_type\":\"t\"}", "duplicate field `domain`"),
        ("[\"a\",\"t\",\"enabled\"]", object),
        ("null", object),
        ("a,t", "expected value"),
        (
            "{\"domain\":\"a\",\"host_type\":\"t\"} {\"domain\":\"b\",\"host_type\":\"t\"}",
            "there is more text after the record in its line",
        ),
        (
            "{\"domain\":\"a\",\"host_type\":\"t\",\"status\":\"on\"}",
            "status must be enabled or disabled",
        ),
    ] {
        let clean = "{\"domain\":\"a\",\"host_type\":\"t\"}";
        let file = format!("{clean}\n{line}\n{clean}\n");
        assert_eq!(reasons(read(Format::Ndjson, &file)), [(2, expected.to_owned())], "{line}");
    }
    let deep = format!("{{\"domain\":{}\n", "[".repeat(LONGEST - 100));
    assert_eq!(reasons(read_by(Format::Ndjson, deep.as_bytes(), 4096)).len(), 1);
}

#[test]
fn a_quotation_mark_that_is_not_closed_takes_no_other_line_with_it() {
    let mut file = "\"a,t\n".to_owned();
    file.push_str(&"b,t\n".repeat(LONGEST));
    let read = read_by(Format::Csv, file.as_bytes(), 4096).unwrap();
    assert_eq!(read.len(), LONGEST + 1);
    assert_eq!(reasons(Ok(read)), [(1, "a quotation mark is not closed".to_owned())]);
}

#[test]
fn other_encodings_are_said_once() {
    let utf16: Vec<u8> = "a,t\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let expected = Err("the file is UTF-16: save it as UTF-8".to_owned());
    assert_eq!(csv(&utf16), expected);
    assert_eq!(csv([&b"\xff\xfe"[..], &utf16].concat()), expected);
    let text = "line 2 is not UTF-8: save the file as UTF-8".to_owned();
    assert_eq!(csv(b"a,t\n\xe9,t\n"), Err(text.clone()));
    let json = b"{\"domain\":\"a\",\"host_type\":\"t\"}\n{\"domain\":\"\xe9\",\"host_type\":\"t\"}";
    assert_eq!(read(Format::Ndjson, json), Err(text));
    let text = "line 3 is not UTF-8: save the file as UTF-8".to_owned();
    assert_eq!(csv(b"a,t\n\"\n\xe9\",t\n"), Err(text));
}

#[test]
fn a_line_without_end_is_too_long() {
    for format in [Format::Csv, Format::Ndjson] {
        let line = [b"\n".to_vec(), vec![b'a'; LONGEST + 1]].concat();
        assert_eq!(read_by(format, &line, 1000), Err("line 2 is too long".to_owned()));
    }
}

#[test]
fn records_without_end_are_rejected_but_not_for_ever() {
    for (format, line) in [(Format::Csv, "a,\"b\"c,\"\n"), (Format::Ndjson, "{\"a\":\n")] {
        // Each would be looked for through 16 KiB.
        let file = line.repeat(100_000);
        let expected = "line 101: too many records are not closed: is the file in another format?";
        assert_eq!(read_by(format, file.as_bytes(), 1000), Err(expected.to_owned()));
        assert!(read_by(format, line.repeat(100).as_bytes(), 1000).is_ok());
    }
}

proptest! {
    /// What is written is read as it was, whatever it is and in whatever pieces it comes.
    #[test]
    fn what_is_written_is_read(
        records in prop::collection::vec((".*|[\"#, \t\r\na]*", "(?s).*|[\"#, \t\r\na]*", any::<bool>()), 0..10),
        size in 1_usize..100,
    ) {
        for format in [Format::Csv, Format::Ndjson] {
            let mut file = format.heading().as_bytes().to_vec();
            for (domain, host_type, enabled) in &records {
                let status = if *enabled { "enabled" } else { "disabled" };
                format.write(domain, host_type, status, &mut file).unwrap();
            }
            let read = read_by(format, &file, size).unwrap();
            let read: Vec<_> = read.into_iter().map(|(_, record)| record).collect();
            let expected = records.iter().map(|(domain, host_type, enabled)| {
                record(domain, host_type, Some(*enabled))
            });
            prop_assert_eq!(read, expected.collect::<Vec<_>>());
        }
    }

    /// No file ends in a panic, and none is read in another way when it comes in other pieces.
    #[test]
    fn any_file_is_read_the_same_in_any_pieces(
        file in prop::collection::vec(prop::sample::select(&b"\",\n\r# {}:a\xe9\0"[..]), 0..200),
        size in 1_usize..50,
    ) {
        for format in [Format::Csv, Format::Ndjson] {
            let read = |size| {
                let mut reader = Reader::new(format);
                let mut read = Vec::new();
                for piece in file.chunks(size) {
                    reader.push(piece);
                    while let Some(item) = reader.next_item().map_err(|error| error.to_string())? {
                        read.push(item);
                    }
                }
                reader.finish();
                while let Some(item) = reader.next_item().map_err(|error| error.to_string())? {
                    read.push(item);
                }
                Ok::<_, String>((read, reader.position()))
            };
            prop_assert_eq!(read(size), read(file.len().max(1)));
        }
    }
}

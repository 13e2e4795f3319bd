//! Frames: four bytes that say how long it is (the highest first), and a term in Erlang's external
//! format.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, ErrorKind, Read, Write};

/// The longest frame, in bytes. The node takes no longer one either.
pub const LONGEST: usize = 4 * 1024 * 1024;

/// The next frame; `None` at the end of the input.
pub fn read<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<T>> {
    let mut head = [0; 4];
    match input.read_exact(&mut head) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_be_bytes(head) as usize;
    if length > LONGEST {
        return Err(invalid(format!("a frame of {length} bytes is too long")));
    }
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    decode(&bytes).map(Some)
}

/// A term.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    // The error itself would show the term, and with it a password.
    erltf_serde::from_bytes(bytes).map_err(|_| invalid("a frame is not understood".to_owned()))
}

/// Writes a frame.
pub fn write(output: &mut impl Write, term: &impl Serialize) -> io::Result<()> {
    let bytes = erltf_serde::to_bytes(term).map_err(|error| invalid(error.to_string()))?;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if length as usize > LONGEST {
        return Err(invalid(format!("a frame of {length} bytes is too long")));
    }
    // In one piece, so that the other side need not wait for the rest of it.
    output.write_all(&[&length.to_be_bytes(), bytes.as_slice()].concat())?;
    output.flush()
}

fn invalid(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, decode, read, write};
    use crate::protocol::{First, FromNode, Question, Reply, ToNode};

    fn framed(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
    }

    #[test]
    fn a_frame_is_a_length_and_a_term() {
        let mut written = Vec::new();
        write(&mut written, &ToNode::Question(7, Question::EnableDomain("a".to_owned()))).unwrap();
        // {question, 7, {enable_domain, <<"a">>}}
        let tuple = [
            b"\x83h\x03w\x08question".as_slice(),
            b"a\x07",
            b"h\x02w\x0denable_domainm\0\0\0\x01a",
        ]
        .concat();
        assert_eq!(written, framed(&tuple));
    }

    #[test]
    fn what_is_cut_off_is_the_end_or_an_error_but_never_a_frame() {
        // {answer, 1, {names, [<<"a">>]}}
        let term = [
            b"\x83h\x03d\0\x06answera\x01".as_slice(),
            b"h\x02d\0\x05namesl\0\0\0\x01m\0\0\0\x01aj",
        ]
        .concat();
        let frame = framed(&term);
        let Some(FromNode::Answer(1, Reply::Names(names))) =
            read::<FromNode>(&mut frame.as_slice()).unwrap()
        else {
            panic!("another frame");
        };
        assert_eq!(names, ["a"]);
        for end in 0..frame.len() {
            let cut = read::<FromNode>(&mut &frame[..end]);
            assert!(if end < 4 { matches!(cut, Ok(None)) } else { cut.is_err() }, "{end}");
        }
        for end in 0..term.len() {
            assert!(decode::<FromNode>(&term[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn what_is_too_long_or_wrong_is_an_error() {
        let head = (LONGEST as u32 + 1).to_be_bytes();
        let error = read::<FromNode>(&mut head.as_slice()).unwrap_err();
        assert_eq!(error.to_string(), "a frame of 4194305 bytes is too long");
        let names = ["a".repeat(LONGEST)].to_vec();
        let question = ToNode::Question(1, Question::StaticsAmong(names));
        assert!(write(&mut Vec::new(), &question).is_err());
        for bytes in [b"".as_slice(), b"\x83", b"ping", b"\x83d\0\x04pong", b"\x83d\0\x04pingx"] {
            assert!(read::<FromNode>(&mut framed(bytes).as_slice()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn an_error_does_not_show_what_was_in_the_frame() {
        // {start, 1, <<"secret">>}
        let term = b"\x83h\x03d\0\x05starta\x01m\0\0\0\x06secret";
        let error = read::<First>(&mut framed(term).as_slice()).unwrap_err();
        assert_eq!(error.to_string(), "a frame is not understood");
    }
}

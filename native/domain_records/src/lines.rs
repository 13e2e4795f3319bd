//! Lines, which end by LF, CRLF or CR.

/// The length of the first line without its end, and with it. `None`: its end is not there.
pub(crate) fn first(bytes: &[u8]) -> Option<(usize, usize)> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
    Some((end, end + end_of_line(&bytes[end..])))
}

/// The length of the end of a line, with which the bytes begin.
pub(crate) fn end_of_line(bytes: &[u8]) -> usize {
    match bytes {
        [b'\r', b'\n', ..] => 2,
        [b'\r' | b'\n', ..] => 1,
        _ => 0,
    }
}

/// How many lines these are. The last one need not have an end.
pub fn count(mut bytes: &[u8]) -> u64 {
    let mut count = 0;
    while let Some((_, length)) = first(bytes) {
        count += 1;
        bytes = &bytes[length..];
    }
    count + u64::from(!bytes.is_empty())
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn every_kind_of_end_counts() {
        for (text, expected) in
            [("", 0), ("a", 1), ("a\n", 1), ("a\r\nb", 2), ("a\rb\r", 2), ("\n\r\n\r\r", 4)]
        {
            assert_eq!(count(text.as_bytes()), expected, "{text:?}");
        }
    }
}

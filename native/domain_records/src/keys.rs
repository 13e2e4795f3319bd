//! Keys that people write: which one was probably meant.

/// The known key that differs from this one only in case, `-` or `_`.
pub fn meant<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    known.iter().copied().find(|known| plain(known) == plain(key))
}

/// Says that a key is not known, and which one was probably meant, or else which there are.
pub fn unknown(what: &str, key: &str, known: &[&str]) -> String {
    match (meant(key, known), known) {
        (Some(meant), _) => format!("unknown {what} '{key}': did you mean '{meant}'?"),
        (None, []) => format!("unknown {what} '{key}': none is allowed here"),
        (None, _) => format!("unknown {what} '{key}': the known ones are {}", known.join(", ")),
    }
}

fn plain(key: &str) -> String {
    key.chars().filter(|char| !"-_".contains(*char)).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::unknown;

    #[test]
    fn a_near_miss_is_named_and_else_what_is_known() {
        let known = ["host_type", "dry_run"];
        for key in ["hostType", "HOST_TYPE", "host-type", "_hosttype"] {
            let expected = format!("unknown key '{key}': did you mean 'host_type'?");
            assert_eq!(unknown("key", key, &known), expected);
        }
        let expected = "unknown key 'host': the known ones are host_type, dry_run";
        assert_eq!(unknown("key", "host", &known), expected);
        assert_eq!(unknown("key", "x", &[]), "unknown key 'x': none is allowed here");
    }
}

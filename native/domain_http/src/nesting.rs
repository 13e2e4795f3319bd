//! How deep a query in GraphQL is.
//!
//! The parser of async-graphql calls itself for each list, object and type in another, and so ends the
//! program by a few thousand brackets. So they are counted before: everything that GraphQL nests is in
//! brackets. The lexer calls nothing of itself, and knows which brackets are in strings and comments.

use apollo_parser::{Lexer, TokenKind};

/// What is wrong with a query, before it is parsed.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is deeper than allowed.
    TooDeep,
    /// What it begins with is not GraphQL.
    NotUnderstood(String),
}

/// Is the query nested at most so deep?
pub fn check(query: &str, deepest: usize) -> Result<(), Wrong> {
    let mut depth = 0_usize;
    for token in Lexer::new(query) {
        let token = token.map_err(|error| Wrong::NotUnderstood(error.message().to_owned()))?;
        match token.kind() {
            TokenKind::LCurly | TokenKind::LBracket | TokenKind::LParen => depth += 1,
            TokenKind::RCurly | TokenKind::RBracket | TokenKind::RParen => {
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        if depth > deepest {
            return Err(Wrong::TooDeep);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Wrong, check};

    #[test]
    fn brackets_of_every_kind_are_counted() {
        for [open, close] in [["{", "}"], ["[", "]"], ["(", ")"], ["{a:", "}"]] {
            let nested = |depth| format!("{}x{}", open.repeat(depth), close.repeat(depth));
            assert_eq!(check(&nested(32), 32), Ok(()));
            assert_eq!(check(&nested(33), 32), Err(Wrong::TooDeep));
            assert_eq!(check(&nested(60_000), 32), Err(Wrong::TooDeep));
            assert_eq!(check(&open.repeat(60_000), 32), Err(Wrong::TooDeep));
            // One after the other.
            assert_eq!(check(&nested(1).repeat(10_000), 1), Ok(()));
        }
    }

    #[test]
    fn those_in_strings_and_comments_are_not() {
        let deep = "[{(".repeat(50);
        assert_eq!(check(&format!("{{ a(b: \"{deep}\") }} # {deep}"), 2), Ok(()));
        assert_eq!(check(&format!("{{ a(b: \"\"\"{deep} \\\"\"\" {deep}\"\"\") }}"), 2), Ok(()));
        assert_eq!(check(&format!("{{ a(b: \"\\\"{deep}\\\\\") }}"), 2), Ok(()));
        // But behind them they are.
        assert_eq!(check(&format!("{{ a(b: \"\\\\\" {deep}"), 2), Err(Wrong::TooDeep));
        assert_eq!(check(&format!("# comment\n{deep}"), 2), Err(Wrong::TooDeep));
        assert_eq!(check(&format!("\"\"\"a\"\"\"{deep}"), 2), Err(Wrong::TooDeep));
    }

    #[test]
    fn what_is_no_graphql_is_said_so() {
        for query in ["\"", "{ a(b: \"", "\"\"\"", "{ \u{0} }", "{ ? }", "\u{feff}?"] {
            assert!(matches!(check(query, 32), Err(Wrong::NotUnderstood(_))), "{query}");
        }
    }

    /// The query that this is here for.
    fn deadly() -> String {
        let nested = format!("{}\"x\"{}", "[".repeat(3000), "]".repeat(3000));
        format!("{{ domain {{ domainDetails(domain: {nested}) {{ domain }} }} }}")
    }

    #[test]
    fn what_would_end_the_process_is_refused() {
        assert_eq!(check(&deadly(), 32), Err(Wrong::TooDeep));
        // If the parser does not need the check any more, it can go.
        let program = std::env::current_exe().unwrap();
        let test = "nesting::tests::parsed_without_the_check";
        let ended =
            std::process::Command::new(program).args([test, "--exact", "--ignored"]).output();
        assert_eq!(ended.unwrap().status.code(), None, "the parser survives");
    }

    #[test]
    #[ignore = "it ends the process; the test above starts one for it"]
    fn parsed_without_the_check() {
        let _ = async_graphql::parser::parse_query(deadly());
    }
}

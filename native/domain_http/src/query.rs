//! Strictness: what a request says and we do not know is refused, and named.

use crate::error::Error;
use axum::extract::Request;
use axum::http::Uri;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain_records::keys::unknown;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashSet;

/// The parameters of a query, of which these are known.
pub fn query<T: DeserializeOwned>(uri: &Uri, known: &[&str]) -> Result<T, Error> {
    let text = uri.query().unwrap_or_default();
    check(text, known)?;
    serde_urlencoded::from_str(text).map_err(|_| Error::bad_request("invalid query"))
}

/// Refuses every query: for routes that have no parameters.
pub async fn no_query(request: Request, next: Next) -> Response {
    match check(request.uri().query().unwrap_or_default(), &[]) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(query: &str, known: &[&str]) -> Result<(), Error> {
    let invalid = |_| Error::bad_request("invalid query");
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).map_err(invalid)?;
    let mut seen = HashSet::new();
    for (key, _) in &pairs {
        if !known.contains(&key.as_str()) {
            return Err(Error::bad_request(unknown("query parameter", key, known)));
        }
        if !seen.insert(key) {
            return Err(Error::bad_request(format!("query parameter '{key}' is given twice")));
        }
    }
    Ok(())
}

/// Checks the keys of an object in a body.
pub fn check_keys(body: &Value, known: &[&str]) -> Result<(), Error> {
    let mut keys = body.as_object().into_iter().flat_map(|object| object.keys());
    match keys.find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(Error::bad_request(unknown("key", key, known))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{check, check_keys};
    use serde_json::json;

    #[test]
    fn what_is_not_known_is_named() {
        let what = |query| check(query, &["host_type", "limit"]).err().map(|error| error.what);
        assert_eq!(what("limit=1&host_type=a"), None);
        assert_eq!(what(""), None);
        for (query, expected) in [
            ("hostType=a", "unknown query parameter 'hostType': did you mean 'host_type'?"),
            ("limit=1&x", "unknown query parameter 'x': the known ones are host_type, limit"),
            ("limit=1&limit=2", "query parameter 'limit' is given twice"),
            ("%68ost-type=a", "unknown query parameter 'host-type': did you mean 'host_type'?"),
        ] {
            assert_eq!(what(query).as_deref(), Some(expected));
        }
        let what = |body| check_keys(&body, &["host_type"]).err().map(|error| error.what);
        assert_eq!(what(json!({"host_type": "a"})), None);
        assert_eq!(what(json!([])), None);
        let expected = "unknown key 'HostType': did you mean 'host_type'?";
        assert_eq!(what(json!({"HostType": "a"})).as_deref(), Some(expected));
    }
}

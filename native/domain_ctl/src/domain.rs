//! `domain …`: the commands of MongooseIM's GraphQL interface.

use crate::cli::{DomainCommand, Name, Pair};
use crate::client::Client;
use crate::config::first_line;
use crate::error::Error;
use crate::output;
use serde_json::{Value, json};
use std::process::ExitCode;

const DOMAIN: &str = "{ domain hostType status }";
const WITH_TYPE: &str = "{ domain hostType status type routable }";

/// Sends the command and prints the result, errors included.
pub fn run(command: &DomainCommand, client: &Client) -> Result<ExitCode, Error> {
    let result: Value = client.post("/api/graphql", &request(command)?)?;
    if result.get("data").is_none() && result.get("errors").is_none() {
        return Err(client.unexpected("JSON, but not a result of GraphQL"));
    }
    output::json(&result)?;
    // By the specification of GraphQL the key is there only if there are errors.
    Ok(ExitCode::from(u8::from(result.get("errors").is_some_and(|errors| !errors.is_null()))))
}

fn request(command: &DomainCommand) -> Result<Value, Error> {
    use DomainCommand::*;
    Ok(match command {
        AddDomain(pair) => change_of_pair("addDomain", pair),
        RemoveDomain(pair) => change_of_pair("removeDomain", pair),
        RequestRemoveDomain(pair) => change_of_pair("requestRemoveDomain", pair),
        EnableDomain(name) => change_of_name("enableDomain", name),
        DisableDomain(name) => change_of_name("disableDomain", name),
        DomainDetails(Name { domain }) => json!({
            "query": format!(
                "query ($domain: DomainName!) \
                 {{ domain {{ domainDetails(domain: $domain) {WITH_TYPE} }} }}"
            ),
            "variables": {"domain": domain},
        }),
        DomainsByHostType { host_type } => json!({
            "query": "query ($hostType: String!) \
                      { domain { domainsByHostType(hostType: $hostType) } }",
            "variables": {"hostType": host_type},
        }),
        AllDomains => json!({
            "query": format!("query {{ domain {{ allDomains {WITH_TYPE} }} }}"),
        }),
        SetDomainPassword { name: Name { domain }, new_password_file } => json!({
            "query": "mutation ($domain: DomainName!, $password: String!) \
                      { domain { setDomainPassword(domain: $domain, password: $password) } }",
            "variables": {"domain": domain, "password": first_line(new_password_file)?},
        }),
        DeleteDomainPassword(Name { domain }) => json!({
            "query": "mutation ($domain: DomainName!) \
                      { domain { deleteDomainPassword(domain: $domain) } }",
            "variables": {"domain": domain},
        }),
    })
}

fn change_of_pair(name: &str, Pair { domain, host_type }: &Pair) -> Value {
    json!({
        "query": format!(
            "mutation ($domain: DomainName!, $hostType: String!) \
             {{ domain {{ {name}(domain: $domain, hostType: $hostType) {DOMAIN} }} }}"
        ),
        "variables": {"domain": domain, "hostType": host_type},
    })
}

fn change_of_name(name: &str, Name { domain }: &Name) -> Value {
    json!({
        "query": format!(
            "mutation ($domain: DomainName!) {{ domain {{ {name}(domain: $domain) {DOMAIN} }} }}"
        ),
        "variables": {"domain": domain},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_variables_and_not_part_of_the_query() {
        let name = |text: &str| text.to_owned();
        let pair = Pair { domain: name("\") { x"), host_type: name("type1") };
        assert_eq!(
            request(&DomainCommand::AddDomain(pair)).unwrap(),
            json!({
                "query": "mutation ($domain: DomainName!, $hostType: String!) { domain { \
                          addDomain(domain: $domain, hostType: $hostType) \
                          { domain hostType status } } }",
                "variables": {"domain": "\") { x", "hostType": "type1"},
            })
        );
        let query = request(&DomainCommand::DomainDetails(Name { domain: name("a.example") }));
        let query = query.unwrap();
        assert_eq!(
            query["query"],
            "query ($domain: DomainName!) { domain { domainDetails(domain: $domain) \
             { domain hostType status type routable } } }"
        );
    }
}

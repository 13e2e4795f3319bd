//! GraphQL: `/api/graphql`, the category `domain` as in MongooseIM.

use crate::admin::{Admin, Details, TooMany};
use crate::budget::Budget;
use crate::error::Error;
use crate::nesting::{self, Wrong};
use crate::node::Refusal;
use crate::query::no_query;
use crate::rest::json;
use async_graphql::parser::types::VariableDefinition;
use async_graphql::{Context, EmptySubscription, Enum, ErrorExtensions, InputValueError, Object};
use async_graphql::{InputValueResult, Name, Request, Scalar, ScalarType, Schema, ServerError};
use async_graphql::{SimpleObject, Value};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, Router, routing::post};
use futures_util::stream;
use std::io;
use std::sync::Arc;

/// How deep and how large a query may be. An introspection query is 13 deep.
const DEPTH: usize = 16;
const COMPLEXITY: usize = 500;
/// How deep brackets may be before a query is parsed: the depth of the fields, and of the values in them.
const NESTING: usize = 32;
/// Fragments are looked at each time they are spread, before anything else limits a query, so a few
/// that spread each other would be looked at for hours. An introspection query has 9 spreads.
const SPREADS: usize = 32;
/// The most domains in one answer.
const MOST_DOMAINS: usize = 200_000;
/// The bytes of an answer that are handed on at a time.
const PIECE: usize = 64 * 1024;

type Api = Schema<Query, Mutation, EmptySubscription>;

pub fn routes(admin: &Arc<Admin>) -> Router<Arc<Admin>> {
    let schema = Schema::build(Query, Mutation, EmptySubscription)
        .data(admin.clone())
        .limit_depth(DEPTH)
        .limit_complexity(COMPLEXITY)
        .finish();
    let answer = post(answer).route_layer(from_fn(no_query));
    Router::new().route("/api/graphql", answer).layer(Extension(schema))
}

/// A GraphQL request; see the schema by introspection.
#[utoipa::path(post, path = "/api/graphql", tag = "graphql",
    request_body(content = GraphqlRequest),
    responses(
        (status = 200, description = "`data`, and `errors` with `extensions.code`"),
        (status = 400, body = BadRequest, description = "`body is empty`, `failed to \
            parse JSON`, `'query' field is missing`, `query is nested too deeply`, `too many \
            fragments`; or `errors` of a query that does not parse or is not valid")))]
async fn answer(
    State(admin): State<Arc<Admin>>,
    Extension(schema): Extension<Api>,
    body: Body,
) -> Result<Response, Error> {
    let request = serde_json::from_value::<Request>(json(body).await?);
    let mut request = request.map_err(|_| Error::bad_request("'query' field is missing"))?;
    if request.query.is_empty() {
        return Err(Error::bad_request("'query' field is missing"));
    }
    match nesting::check(&request.query, NESTING) {
        Ok(()) => {}
        Err(Wrong::TooDeep) => return Err(Error::bad_request("query is nested too deeply")),
        Err(Wrong::NotUnderstood(text)) => return Ok(refused(vec![ServerError::new(text, None)])),
    }
    if request.query.matches("...").count() > SPREADS {
        return Err(Error::bad_request("too many fragments"));
    }
    if let Some(error) = missing_variable(&mut request) {
        return Ok(refused(vec![error]));
    }
    let budget = Arc::new(admin.lists.budget());
    let answer = schema.execute(request.data(budget.clone())).await;
    // What failed while it was executed has a path.
    if answer.is_err() && answer.errors.iter().all(|error| error.path.is_empty()) {
        return Ok(refused(answer.errors));
    }
    Ok(sent(&answer, budget))
}

/// The answer as JSON. The budget is given back when it is sent.
fn sent(answer: &async_graphql::Response, budget: Arc<Budget>) -> Response {
    let Ok(json) = serde_json::to_vec(answer) else {
        return Error::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed to encode the answer as JSON",
        )
        .into_response();
    };
    let length = json.len();
    let pieces = stream::unfold((Bytes::from(json), budget), async |(mut rest, budget)| {
        let piece = rest.split_to(PIECE.min(rest.len()));
        (!piece.is_empty()).then_some((Ok::<_, io::Error>(piece), (rest, budget)))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

fn refused(errors: Vec<ServerError>) -> Response {
    (StatusCode::BAD_REQUEST, Json(NotExecuted { errors })).into_response()
}

/// A variable that the operation needs and the request does not bring: the library looks at variables
/// only when a field asks for them.
fn missing_variable(request: &mut Request) -> Option<ServerError> {
    let (wanted, variables) = (request.operation_name.clone(), request.variables.clone());
    let document = request.parsed_query().ok()?;
    let is_wanted =
        |name: Option<&Name>| wanted.is_none() || name.map(Name::as_str) == wanted.as_deref();
    let (_, operation) = document.operations.iter().find(|(name, _)| is_wanted(*name))?;
    let missing = operation.node.variable_definitions.iter().find(|definition| {
        let VariableDefinition { name, var_type, default_value, .. } = &definition.node;
        !var_type.node.nullable && default_value.is_none() && !variables.contains_key(&name.node)
    })?;
    let VariableDefinition { name, var_type, .. } = &missing.node;
    let text = format!("Variable \"${}\" of type \"{}\" is missing", name.node, var_type.node);
    Some(ServerError::new(text, Some(missing.pos)))
}

/// What was wrong with the request, or the errors of the query in it.
#[derive(utoipa::ToSchema)]
#[allow(dead_code)]
struct BadRequest {
    what: Option<String>,
    #[schema(value_type = Option<Vec<Object>>)]
    errors: Option<Vec<ServerError>>,
}

/// The answer to a query that does not parse or is not valid.
#[derive(serde::Serialize)]
struct NotExecuted {
    errors: Vec<ServerError>,
}

/// A GraphQL request.
#[derive(utoipa::ToSchema)]
#[allow(dead_code)]
pub struct GraphqlRequest {
    #[schema(example = "{ domain { domainDetails(domain: \"example.com\") { status } } }")]
    query: String,
    #[schema(value_type = Option<Object>)]
    variables: Option<serde_json::Value>,
    #[serde(rename = "operationName")]
    operation_name: Option<String>,
}

struct Query;

#[Object]
impl Query {
    async fn domain(&self) -> DomainQuery {
        DomainQuery
    }
}

struct Mutation;

#[Object]
impl Mutation {
    async fn domain(&self) -> DomainMutation {
        DomainMutation::default()
    }
}

/// A name, in any form; it is nameprepped.
struct DomainName(String);

/// Any string: what cannot be a name is refused by the field, with a code.
#[Scalar]
impl ScalarType for DomainName {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(name) => Ok(DomainName(name)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(_))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

#[derive(SimpleObject)]
struct Domain {
    domain: DomainName,
    host_type: Option<String>,
    status: DomainStatus,
}

#[derive(SimpleObject)]
struct DomainWithType {
    domain: DomainName,
    host_type: Option<String>,
    status: DomainStatus,
    r#type: DomainType,
    /// False: it can never route, because its name is not nameprepped, so nothing asks for it. Others
    /// wrote it to the database.
    routable: bool,
}

/// `DELETING`: it is being removed, and does not route any more.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
enum DomainStatus {
    Enabled,
    Disabled,
    Deleting,
    Deleted,
}

/// `STATIC`: by the configuration; it never changes.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
enum DomainType {
    Static,
    Dynamic,
}

/// A field that is null when it fails, and the others are answered all the same.
type Field<T> = Option<async_graphql::Result<T>>;

struct DomainQuery;

#[Object]
impl DomainQuery {
    /// The names of the domains that route by a host type.
    #[graphql(complexity = "100 + child_complexity")]
    async fn domains_by_host_type(
        &self,
        context: &Context<'_>,
        host_type: String,
    ) -> Field<Vec<DomainName>> {
        let names = domains_of(context, admin(context)?, &host_type).await.map_err(too_many);
        Some(names.map(|names| names.into_iter().map(DomainName).collect()))
    }

    /// All domains, of the configuration and of the database.
    #[graphql(complexity = "100 + child_complexity")]
    async fn all_domains(&self, context: &Context<'_>) -> Field<Vec<DomainWithType>> {
        let all = all_domains(context, admin(context)?).await;
        Some(all.map_err(too_many))
    }

    /// What the configuration or the database says of a domain.
    async fn domain_details(
        &self,
        context: &Context<'_>,
        domain: DomainName,
    ) -> Field<DomainWithType> {
        let details = admin(context)?.details(&domain.0).await;
        field(details.map(DomainWithType::from))
    }
}

/// Its fields are made one after the other, in the order of the request, as root fields would be.
#[derive(Default)]
struct DomainMutation(tokio::sync::Mutex<()>);

#[Object]
impl DomainMutation {
    /// Adds a domain. The same pair again is fine.
    async fn add_domain(
        &self,
        context: &Context<'_>,
        domain: DomainName,
        host_type: String,
    ) -> Field<Domain> {
        let (_turn, domain) = (self.0.lock().await, domain.0);
        let admin = admin(context)?;
        let added = admin.add(&domain, &host_type).await;
        field(as_it_is(admin, added, DomainStatus::Enabled).await)
    }

    /// Removes a domain and the data of it; answered when it is gone.
    async fn remove_domain(
        &self,
        context: &Context<'_>,
        domain: DomainName,
        host_type: String,
    ) -> Field<Domain> {
        let (_turn, domain) = (self.0.lock().await, domain.0);
        let removed = admin(context)?.remove(&domain, &host_type).await;
        field(removed.map(|domain| gone(domain, host_type, DomainStatus::Deleted)))
    }

    /// Marks a domain for deletion; the rest is done by itself.
    async fn request_remove_domain(
        &self,
        context: &Context<'_>,
        domain: DomainName,
        host_type: String,
    ) -> Field<Domain> {
        let (_turn, domain) = (self.0.lock().await, domain.0);
        let requested = admin(context)?.request_removal(&domain, &host_type).await;
        field(requested.map(|domain| gone(domain, host_type, DomainStatus::Deleting)))
    }

    /// Lets a domain route.
    async fn enable_domain(&self, context: &Context<'_>, domain: DomainName) -> Field<Domain> {
        let (_turn, domain) = (self.0.lock().await, domain.0);
        let admin = admin(context)?;
        let enabled = admin.set_enabled(&domain, true).await;
        field(as_it_is(admin, enabled, DomainStatus::Enabled).await)
    }

    /// Keeps a domain, but stops routing it.
    async fn disable_domain(&self, context: &Context<'_>, domain: DomainName) -> Field<Domain> {
        let (_turn, domain) = (self.0.lock().await, domain.0);
        let admin = admin(context)?;
        let disabled = admin.set_enabled(&domain, false).await;
        field(as_it_is(admin, disabled, DomainStatus::Disabled).await)
    }

    /// Sets the password of the domain's administrator.
    async fn set_domain_password(
        &self,
        context: &Context<'_>,
        domain: DomainName,
        password: String,
    ) -> Field<String> {
        let _turn = self.0.lock().await;
        field(admin(context)?.change_password(&domain.0, Some(password)).await)
    }

    /// Deletes the password of the domain's administrator.
    async fn delete_domain_password(
        &self,
        context: &Context<'_>,
        domain: DomainName,
    ) -> Field<String> {
        let _turn = self.0.lock().await;
        field(admin(context)?.change_password(&domain.0, None).await)
    }
}

async fn domains_of(
    context: &Context<'_>,
    admin: &Admin,
    host_type: &str,
) -> Result<Vec<String>, TooMany> {
    reserve(context, admin.count_of(host_type, MOST_DOMAINS).await?).await?;
    let names = admin.domains_of(host_type, MOST_DOMAINS).await?;
    budget(context)?.take_text(names.iter().map(String::len).sum())?;
    Ok(names)
}

async fn all_domains(context: &Context<'_>, admin: &Admin) -> Result<Vec<DomainWithType>, TooMany> {
    reserve(context, admin.count(MOST_DOMAINS).await?).await?;
    let budget = budget(context)?;
    let fields: Vec<_> = context.field().selection_set().collect();
    let count = |name: &str| fields.iter().filter(|field| field.name() == name).count();
    let (domains, host_types) = (count("domain"), count("hostType"));
    let bytes = |it: &Details| it.domain.len() * domains + it.host_type.len() * host_types;
    let may_take = |part: &[Details]| budget.take_text(part.iter().map(bytes).sum());
    let all = admin.all(MOST_DOMAINS, may_take).await?;
    Ok(all.into_iter().map(DomainWithType::from).collect())
}

/// Takes what a list of so many domains needs from the budget of the request.
async fn reserve(context: &Context<'_>, domains: usize) -> Result<(), TooMany> {
    let fields: Vec<_> = context.field().selection_set().collect();
    let names = fields.iter().map(|field| field.alias().unwrap_or(field.name()));
    budget(context)?.take(domains, names).await
}

/// Every request has one.
fn budget<'a>(context: &Context<'a>) -> Result<&'a Budget, TooMany> {
    context.data_opt::<Arc<Budget>>().map(Arc::as_ref).ok_or(TooMany::Domains)
}

fn admin<'a>(context: &Context<'a>) -> Option<&'a Arc<Admin>> {
    context.data_opt::<Arc<Admin>>()
}

fn field<T>(result: Result<T, Refusal>) -> Field<T> {
    Some(result.map_err(failure))
}

/// The domain after a change. If it cannot be read then, the change was made all the same.
async fn as_it_is(
    admin: &Admin,
    changed: Result<String, Refusal>,
    status: DomainStatus,
) -> Result<Domain, Refusal> {
    let domain = changed?;
    match admin.details(&domain).await {
        Ok(details) => Ok(details.into()),
        Err(_) => Ok(Domain { domain: DomainName(domain), host_type: None, status }),
    }
}

fn gone(domain: String, host_type: String, status: DomainStatus) -> Domain {
    Domain { domain: DomainName(domain), host_type: Some(host_type), status }
}

fn too_many(error: TooMany) -> async_graphql::Error {
    match error {
        TooMany::Refused(refusal) => failure(refusal),
        TooMany::Domains => coded("too_many_domains", &error.to_string()),
    }
}

fn failure(refusal: Refusal) -> async_graphql::Error {
    let text = match &refusal {
        // What the database says is for the log.
        Refusal::Database(_) => "Database error".to_owned(),
        other => other.to_string(),
    };
    coded(refusal.code(), &text)
}

fn coded(code: &'static str, text: &str) -> async_graphql::Error {
    async_graphql::Error::new(text).extend_with(|_, extensions| extensions.set("code", code))
}

impl From<crate::admin::DomainStatus> for DomainStatus {
    fn from(status: crate::admin::DomainStatus) -> Self {
        match status {
            crate::admin::DomainStatus::Enabled => DomainStatus::Enabled,
            crate::admin::DomainStatus::Disabled => DomainStatus::Disabled,
            crate::admin::DomainStatus::Deleting => DomainStatus::Deleting,
        }
    }
}

impl From<Details> for Domain {
    fn from(details: Details) -> Self {
        let status = details.status.into();
        let domain = DomainName(details.domain);
        Domain { domain, host_type: Some(details.host_type), status }
    }
}

impl From<Details> for DomainWithType {
    fn from(details: Details) -> Self {
        let r#type = match details.r#type {
            crate::admin::DomainType::Static => DomainType::Static,
            crate::admin::DomainType::Dynamic => DomainType::Dynamic,
        };
        let routable = details.routable;
        let Domain { domain, host_type, status } = details.into();
        DomainWithType { domain, host_type, status, r#type, routable }
    }
}

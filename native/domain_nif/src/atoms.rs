//! The atoms that cross the border.

rustler::atoms! {
    ok,
    error,
    undefined,
    mongoose_domain_nif,
    service_domain_db,

    // the table
    fresh,
    kept,
    inserted,
    refreshed,
    absent,
    removed,
    all,
    unknown_host_type,
    is_static = "static",
    bad_insert,

    // batches
    more,
    done,
    stale,

    // the follower
    max_age,
    audit_interval,
    open,
    apply,
    answer,
    pong,
    reload,
    differs,
    stopped,

    // what it logs
    log,
    notice,
    warning,
    what,
    reason,
    text,
    count,
    domains,
    core_host_type,
    db_host_type,
    milliseconds,
    retry_after_milliseconds,
    statement,
    domains_loaded,
    domain_check_failed,
    domain_audit_failed,
    domains_must_be_reloaded,
    too_old,
    went_backwards,
    domains_differ_from_database,
    domain_settings_without_index,
    domain_static_but_in_db,
    domain_static_but_was_in_db,
    ignore_domain_from_db_with_different_host_type,
    ignore_domain_from_db_with_unknown_host_type,
    ignore_domain_from_db_with_invalid_name,

    // statistics
    position,
    newest_event,
    seconds_since_check,
    checks,
    loads,
    reloads,
    gaps_settled,
    dummies_written,
    audits,
    errors,
    last_error,
    failing,
    followed,

    // rows
    disabled,
    enabled,
    deleting,
    exists,
    not_found,
    wrong_host_type,
    none,

    // options of databases
    url,
    driver,
    host,
    port,
    database,
    username,
    password,
    tls,
    mode,
    ca,
    client,
    max_connections,
    query_timeout,
    idle_timeout,

    // errors of the HTTP server
    bad_http_option,
    http_failed,

    // errors of databases that are no failures of them
    bad_database_option,
    invalid_name,
}

//! `/flows`: who did what at this pod in the last minutes, and whether rules let it.

use http::StatusCode;

use super::{Admin, query::Query, reply::Reply};

/// `/flows`
pub(super) fn print(admin: &Admin, _: &Query) -> Reply {
    let Some(flows) = &admin.flows else {
        let refusal = "flows are not remembered: the process was not asked to\n";
        return Reply::error(StatusCode::NOT_FOUND, refusal);
    };
    match serde_json::to_value(flows.read()) {
        Ok(summary) => Reply::json(&summary),
        Err(error) => Reply::error(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

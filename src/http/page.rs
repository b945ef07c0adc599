//! The operator's page: one document that brings its style and its script along and fetches nothing but this API. It holds no data and no
//! secret, so that a browser may have it before the token is typed in.

use super::error::Refusal;
use crate::engine::reason::Reason;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::response::{IntoResponse, Response};

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The script and the style bear a word that nobody could have known: whatever else got into the page would not run.
pub async fn page() -> Result<Response, Refusal> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| {
        let sentence = format!("the system gives no random bytes: {error}");
        Refusal::Unavailable(Reason::new("no_randomness", sentence, ""))
    })?;
    let nonce: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy.as_str()),
        (REFERRER_POLICY, "no-referrer"),
    ];
    Ok((headers, filled(&nonce)).into_response())
}

fn filled(nonce: &str) -> String {
    PAGE.replace("{nonce}", nonce).replace("{style}", STYLE).replace("{script}", SCRIPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of tables are a stranger's text: there must be no way for them to become markup or code, and none for the token to stay.
    #[test]
    fn nothing_in_the_page_makes_markup_of_text_or_reaches_out() {
        let whole = filled("0123").replace("http://www.w3.org/2000/svg", "");
        for unwanted in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "DOMParser",
            "localStorage",
            "sessionStorage",
            "document.cookie",
            "http://",
            "https://",
            "src=",
            "style=\"",
            "onclick=",
            "{nonce}",
            "{style}",
            "{script}",
        ] {
            assert!(!whole.contains(unwanted), "{unwanted}");
        }
        assert_eq!(whole.matches("nonce=\"0123\"").count(), 2);
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
    }
}

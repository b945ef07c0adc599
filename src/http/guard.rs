//! What a request must be before any route sees it, and what every answer bears. It knows no route but `/healthz` and the page.
//!
//! A web page can send requests to this machine by a name of its own that resolves here: only the names in the list are answered.
//! No answer allows a foreign page to read it, so there are no CORS headers anywhere.

use super::error::Refusal;
use super::token::TokenFile;
use crate::engine::follows::Challenge;
use crate::model::fault::Fault;
use crate::settings;
use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, HOST, HeaderMap, HeaderValue, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

#[derive(Debug)]
pub struct Guard {
    /// What `Host` may say, in lower case.
    hosts: Vec<String>,
    /// What may follow the scheme in `Origin`, in lower case.
    origins: Vec<String>,
    readers: Readers,
    token: TokenFile,
    request_time_max: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readers {
    Anyone,
    Bearers,
}

pub const HEADER_BYTES_MAX: usize = 16 * 1024;
const BODY_BYTES_MAX: u64 = 64 * 1024;
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

const LOOPBACK_NAMES: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];

/// What may be asked without a token: a probe has none, and a browser has none before it has the page, which holds no data.
const OPEN_TO_ALL: [&str; 2] = ["/healthz", "/"];

const HTTP_PORT: u16 = 80;

impl Guard {
    /// `at` is the address that is listened at.
    pub fn new(settings: &settings::Http, at: SocketAddr) -> Result<Guard, Fault> {
        let token = TokenFile::open(&settings.token_file)?;
        let readers = if at.ip().is_loopback() { Readers::Anyone } else { Readers::Bearers };
        let (mut hosts, mut origins) = (Vec::new(), Vec::new());
        let own = (!at.ip().is_unspecified()).then(|| bracketed(at));
        for name in LOOPBACK_NAMES.into_iter().map(str::to_owned).chain(own) {
            hosts.extend([name.clone(), format!("{name}:{}", at.port())]);
            // Whatever else runs on this machine, on another port, is another site.
            origins.push(if at.port() == HTTP_PORT { name } else { format!("{name}:{}", at.port()) });
        }
        for name in &settings.allowed_hosts {
            hosts.extend([name.clone(), format!("{name}:{}", at.port())]);
            origins.extend([name.clone(), format!("{name}:{}", at.port())]);
        }
        Ok(Guard { hosts, origins, readers, token, request_time_max: REQUEST_TIME_MAX })
    }

    /// That we hold the token, to whoever asks: it takes the token to know one proof from another. Nothing while we cannot read it.
    pub fn proof(&self, headers: &HeaderMap, challenge: &Challenge) -> Option<String> {
        self.token.proof(headers.get(HOST).map_or(b"", HeaderValue::as_bytes), challenge)
    }

    fn admit(&self, request: &Request) -> Result<(), Refusal> {
        let headers = request.headers();
        if head_bytes(request) > HEADER_BYTES_MAX {
            return Err(Refusal::HeadersTooLarge);
        }
        self.admit_host(request)?;
        self.admit_origin(headers)?;
        match request.body().size_hint().upper() {
            Some(bytes) if bytes <= BODY_BYTES_MAX => {}
            Some(_) => return Err(Refusal::BodyTooLarge),
            None => return Err(Refusal::NoLength),
        }
        if self.is_open_to_all(request) {
            return Ok(());
        }
        let mut given = headers.get_all(AUTHORIZATION).iter();
        match (given.next(), given.next()) {
            (Some(given), None) if self.token.is_borne_by(given.as_bytes()) => Ok(()),
            _ => Err(Refusal::NoToken),
        }
    }

    /// Only a method that changes nothing may do without the token.
    fn is_open_to_all(&self, request: &Request) -> bool {
        let open = match self.readers {
            Readers::Anyone => true,
            Readers::Bearers => OPEN_TO_ALL.contains(&request.uri().path()),
        };
        open && request.method().is_safe()
    }

    /// A request line may name a host too, and then it is that one which counts for others on the way: both must be ours.
    fn admit_host(&self, request: &Request) -> Result<(), Refusal> {
        let mut named = request.headers().get_all(HOST).iter();
        let (Some(host), None) = (named.next(), named.next()) else { return Err(Refusal::NoHost) };
        let of_the_line = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let known = |name: &[u8]| self.hosts.iter().any(|host| host.as_bytes().eq_ignore_ascii_case(name));
        if of_the_line.is_none_or(known) && known(host.as_bytes()) {
            Ok(())
        } else {
            Err(Refusal::ForeignHost)
        }
    }

    fn admit_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let known = |origin: &HeaderValue| {
            let bare = |scheme| origin.to_str().ok()?.strip_prefix(scheme);
            bare("http://")
                .or_else(|| bare("https://"))
                .is_some_and(|origin| self.origins.iter().any(|known| known.eq_ignore_ascii_case(origin)))
        };
        let cross_site = headers.get_all("sec-fetch-site").iter().any(|site| site == "cross-site");
        if cross_site || !headers.get_all(ORIGIN).iter().all(known) {
            return Err(Refusal::ForeignOrigin);
        }
        Ok(())
    }
}

/// Stands before every route, the missing ones included.
pub async fn admitted(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = match guard.admit(&request) {
        Ok(()) => timeout(guard.request_time_max, next.run(request))
            .await
            .unwrap_or_else(|_| Refusal::TooSlow.into_response()),
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// About what the request's line and headers took on the wire.
fn head_bytes(request: &Request) -> usize {
    let headers =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    let uri = request.uri();
    uri.path().len() + uri.query().map_or(0, str::len) + headers.sum::<usize>()
}

fn bracketed(at: SocketAddr) -> String {
    match at {
        SocketAddr::V4(at) => at.ip().to_string(),
        SocketAddr::V6(at) => format!("[{}]", at.ip()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use std::path::PathBuf;

    fn guard(at: &str, token_file: PathBuf) -> Guard {
        let at: SocketAddr = at.parse().unwrap();
        Guard::new(&settings::Http { listen: at, token_file, allowed_hosts: Vec::new() }, at).unwrap()
    }

    fn asked(guard: &Guard, path: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        guard.admit(&request.body(Body::empty()).unwrap())
    }

    #[test]
    fn beyond_loopback_all_but_the_probe_and_the_page_wants_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let guard = guard("10.1.2.3:8475", file.clone());
        let bearer = format!("Bearer {}", std::fs::read_to_string(file).unwrap().trim());
        let (host, good, bad) =
            (("host", "10.1.2.3:8475"), ("authorization", &*bearer), ("authorization", "Bearer x"));
        assert_eq!(asked(&guard, "/healthz", &[host]), Ok(()));
        assert_eq!(asked(&guard, "/", &[host]), Ok(()));
        for path in [
            "/readyz",
            "//",
            "/v1/routing",
            "/v1/events",
            "/metrics",
            "/v1/status",
            "/healthz/",
            "//healthz",
            "/nowhere",
        ] {
            assert_eq!(asked(&guard, path, &[host]), Err(Refusal::NoToken), "{path}");
            assert_eq!(asked(&guard, path, &[host, bad]), Err(Refusal::NoToken), "{path}");
            assert_eq!(asked(&guard, path, &[host, good, bad]), Err(Refusal::NoToken), "{path}");
            assert_eq!(asked(&guard, path, &[host, good]), Ok(()), "{path}");
        }
        let foreign = [("host", "evil.example"), good];
        assert_eq!(asked(&guard, "/v1/status", &foreign), Err(Refusal::ForeignHost));
    }

    #[test]
    fn what_is_no_reading_wants_the_token_on_loopback_too() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let guard = guard("127.0.0.1:8475", file.clone());
        let bearer = format!("Bearer {}", std::fs::read_to_string(file).unwrap().trim());
        for (method, wants) in [
            ("GET", false),
            ("HEAD", false),
            ("OPTIONS", false),
            ("TRACE", false),
            ("POST", true),
            ("PUT", true),
            ("DELETE", true),
            ("BREW", true),
            ("get", true),
        ] {
            let ask = |bearer: &str| {
                let request = Request::builder().method(method).uri("/healthz").header("host", "localhost");
                guard.admit(&request.header("authorization", bearer).body(Body::empty()).unwrap())
            };
            assert_eq!(ask("Bearer x"), if wants { Err(Refusal::NoToken) } else { Ok(()) }, "{method}");
            assert_eq!(ask(&bearer), Ok(()), "{method}");
        }
    }

    #[test]
    fn the_address_listened_at_is_a_name_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        for (at, host, expected) in [
            ("10.1.2.3:8475", "10.1.2.3:8475", Ok(())),
            ("10.1.2.3:8475", "10.1.2.4:8475", Err(Refusal::ForeignHost)),
            ("[fd00::1]:8475", "[fd00::1]:8475", Ok(())),
            ("0.0.0.0:8475", "0.0.0.0:8475", Err(Refusal::ForeignHost)),
            ("0.0.0.0:8475", "localhost:8475", Ok(())),
            ("127.0.0.1:80", "localhost", Ok(())),
        ] {
            let guard = guard(at, dir.path().join("token"));
            assert_eq!(asked(&guard, "/healthz", &[("host", host)]), expected, "{at} {host}");
        }
        let port_80 = guard("127.0.0.1:80", dir.path().join("token"));
        let page = |origin| asked(&port_80, "/healthz", &[("host", "localhost"), ("origin", origin)]);
        assert_eq!(page("http://localhost"), Ok(()));
        assert_eq!(page("http://localhost:8080"), Err(Refusal::ForeignOrigin));
    }

    #[tokio::test]
    async fn a_request_that_takes_too_long_is_answered_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let guard = guard("127.0.0.1:1", dir.path().join("token"));
        let short = Guard { request_time_max: Duration::from_millis(20), ..guard };
        let router = Router::new()
            .route("/healthz", get(std::future::pending::<()>))
            .layer(from_fn_with_state(Arc::new(short), admitted));
        let request = Request::get("/healthz").header("host", "localhost").body(Body::empty()).unwrap();
        let response = TowerToHyperService::new(router).call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    }
}

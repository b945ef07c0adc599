//! A client of the running daemon, through the listener that `http.listen` names. Every wait is bounded, and the token goes only where
//! it is asked for, to a daemon that has proven on that very connection that it holds the token already.

use super::Failure;
use super::session::{EMBEDDED, address, source};
use crate::engine::follows::{Challenge, Holder, digest};
use crate::model::fault::Fault;
use crate::settings::Settings;
use crate::sqlite::connect::past_links;
use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST};
use axum::http::{Method, Request, StatusCode};
use futures_util::future::join;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub struct Client {
    at: SocketAddr,
    token_file: PathBuf,
    /// Whether the listener wants the token of readers too.
    guarded: bool,
    /// Digest of the database that the settings name: an order is for the daemon that follows it.
    source: Option<String>,
}

/// Whether an order was taken, and what was answered.
#[derive(Debug)]
pub enum Taken {
    Is(Value),
    /// The problem: with its code, what is wrong, and what to do.
    Not(Value),
}

pub const HALTED: &str = "halted";
/// Faults that say that no daemon listens.
const NOBODY: [&str; 2] = ["daemon_unreachable", "daemon_unreadable"];

/// What wants no token of anybody.
const OPEN_TO_ALL: &str = "/healthz";

type Broken = Box<dyn Error + Send + Sync>;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// Longer than the daemon lets any request take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(35);
/// A verdict lists differences by the thousand.
const ANSWER_BYTES_MAX: usize = 64 << 20;

impl Client {
    pub fn new(settings: &Settings) -> Client {
        let listen = settings.http.listen;
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            named => named,
        };
        Client {
            at: SocketAddr::new(ip, listen.port()),
            token_file: settings.http.token_file.clone(),
            guarded: !listen.ip().is_loopback(),
            source: settings.source.path.as_deref().map(|path| {
                // As the daemon names it.
                let path = past_links(path);
                digest(&path.display().to_string())
            }),
        }
    }

    /// One that is read without a token.
    pub fn at(at: SocketAddr) -> Client {
        Client { at, token_file: PathBuf::new(), guarded: false, source: None }
    }

    /// The daemon that follows the settings' source into their target, if one listens and has not halted.
    pub async fn of_migration(settings: &Settings) -> Result<Option<Client>, Failure> {
        let Some((mut client, follows)) = Client::found(settings).await? else { return Ok(None) };
        if !is_there(settings, &follows)? {
            return Ok(None);
        }
        let path = "/v1/status";
        let (code, status) = client.answer(Method::GET, path, None).await?;
        // It listens beyond loopback too, and wants of readers what nobody but it is shown.
        client.guarded |= code == StatusCode::UNAUTHORIZED;
        let status = match code {
            StatusCode::UNAUTHORIZED => client.get(path).await?,
            _ => client.accepted((code, status), path)?,
        };
        Ok((status["run"]["state"] != HALTED).then_some(client))
    }

    /// Whether a daemon that follows the settings' source into their target has the address, halted or not.
    pub async fn is_taken(settings: &Settings) -> Result<bool, Failure> {
        match Client::found(settings).await? {
            Some((_, follows)) => is_there(settings, &follows),
            None => Ok(false),
        }
    }

    /// The daemon that follows the settings' source, wherever to.
    pub async fn of_source(settings: &Settings) -> Result<Option<Client>, Failure> {
        Ok(Client::found(settings).await?.map(|(client, _)| client))
    }

    /// The same, and what it says that it follows. A stranger's daemon is shown no token and told no name.
    async fn found(settings: &Settings) -> Result<Option<(Client, Value)>, Failure> {
        let client = Client::new(settings);
        source(settings)?;
        let told = client.answer(Method::GET, OPEN_TO_ALL, None).await.and_then(|(code, health)| {
            let follows = health["follows"].clone();
            match code {
                // With too many clients it does not say.
                StatusCode::SERVICE_UNAVAILABLE if follows.is_null() => {
                    client.accepted((code, health), OPEN_TO_ALL)
                }
                _ => Ok(follows),
            }
        });
        match told {
            Ok(follows) if client.is_of(&follows) => Ok(Some((client, follows))),
            Ok(_) => Ok(None),
            Err(fault) if NOBODY.contains(&fault.code) => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    pub async fn get(&self, path: &str) -> Result<Value, Fault> {
        self.ask(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, order: &Value) -> Result<Value, Fault> {
        self.ask(Method::POST, path, Some(order)).await
    }

    /// What is possible or not as things are is an answer too: everything else that is refused is a fault.
    pub async fn order(&self, path: &str, order: &Value) -> Result<Taken, Fault> {
        let (status, answer) = self.answer(Method::POST, path, Some(order)).await?;
        match status {
            StatusCode::CONFLICT => Ok(Taken::Not(answer)),
            _ => self.accepted((status, answer), path).map(Taken::Is),
        }
    }

    async fn ask(&self, method: Method, path: &str, order: Option<&Value>) -> Result<Value, Fault> {
        self.accepted(self.answer(method, path, order).await?, path)
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        order: Option<&Value>,
    ) -> Result<(StatusCode, Value), Fault> {
        let exchange = self.exchange(method, path, order);
        timeout(ANSWER_TIME_MAX, exchange).await.unwrap_or_else(|late| Err(self.unreachable(late.into())))
    }

    /// One request on a connection of its own. A token is shown to whoever is at the other end of it, and so it is asked there who that is.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        order: Option<&Value>,
    ) -> Result<(StatusCode, Value), Fault> {
        let connected = timeout(CONNECT_TIME_MAX, TcpStream::connect(self.at)).await;
        let stream = connected
            .map_err(Broken::from)
            .and_then(|connected| connected.map_err(Broken::from))
            .map_err(|error| self.unreachable(error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.unreachable(error.into()))?;
        // Where nobody listens, nobody misses a token.
        let is_wanted = order.is_some() || (self.guarded && path != OPEN_TO_ALL);
        let token = is_wanted.then(|| self.token()).transpose()?;
        let request = self.request(method, path, (order, token.as_deref()))?;
        let asked = async move {
            if let Some(token) = &token {
                self.know(&mut sender, token).await?;
            }
            self.send(&mut sender, request).await
        };
        // How the connection ends tells nothing that the answer does not.
        let (answer, _) = join(asked, connection).await;
        answer
    }

    /// Whose daemon is at the other end, or why it is shown nothing.
    async fn know(&self, sender: &mut SendRequest<Body>, token: &str) -> Result<(), Fault> {
        let refused = |code| Fault::fatal(code, format!("show the token to whoever listens at {}", self.at));
        let challenge = Challenge::throw().map_err(|error| refused("no_randomness").with_source(error))?;
        let host = self.at.to_string();
        let request = Request::get(format!("{OPEN_TO_ALL}?challenge={}", challenge.letters()))
            .header(HOST, &host)
            .body(Body::empty())
            .expect("an address and hexadecimal digits are legal");
        let (status, health) = self.send(sender, request).await?;
        let is_proven = match health["proof"].as_str() {
            Some(proof) => Holder::of(token).gives(proof, host.as_bytes(), &challenge),
            None => self.accepted((status, health.clone()), OPEN_TO_ALL).map(|_| false)?,
        };
        if !is_proven {
            let file = self.token_file.display();
            return Err(match is_exposed(&self.token_file) {
                true => refused("token_file_exposed").with_remedy(format!(
                    "others may read the token file, and its daemon goes by no such token: run `chmod 0600 {file}`, which holds at once"
                )),
                false => refused("daemon_unproven").with_remedy(format!(
                    "it does not hold the token of {file}, and has not been shown it: {}",
                    self.whose()
                )),
            });
        }
        if !self.is_of(&health["follows"]) {
            return Err(refused("daemon_of_another").with_remedy(
                "it follows another database than source.path names: mend --source, or say in http.listen where the other daemon listens",
            ));
        }
        Ok(())
    }

    /// Where no database is named, whatever the holder of the token follows is meant.
    fn is_of(&self, follows: &Value) -> bool {
        self.source.as_ref().is_none_or(|source| follows["source"] == *source)
    }

    async fn send(
        &self,
        sender: &mut SendRequest<Body>,
        request: Request<Body>,
    ) -> Result<(StatusCode, Value), Fault> {
        let sent = async {
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = to_bytes(Body::new(body), ANSWER_BYTES_MAX).await?;
            Ok((head.status, body))
        };
        let (status, body) = sent.await.map_err(|error: Broken| {
            let is_http = error.downcast_ref::<hyper::Error>().is_none_or(|error| !error.is_parse());
            if is_http { self.unreachable(error) } else { self.unreadable() }
        })?;
        Ok((status, serde_json::from_slice(&body).map_err(|_| self.unreadable())?))
    }

    fn unreachable(&self, error: Broken) -> Fault {
        Fault::fatal("daemon_unreachable", format!("ask the daemon at {}", self.at))
            .with_remedy("start it with `liteferry run`; http.listen says where it is asked")
            .with_source(error)
    }

    /// What to look at where the token and the daemon do not fit.
    fn whose(&self) -> &'static str {
        "give the daemon's state.dir or http.token_file, or, if that one is not yours, as http.listen where yours listens"
    }

    fn accepted(&self, (status, answer): (StatusCode, Value), path: &str) -> Result<Value, Fault> {
        if status.is_success() {
            return Ok(answer);
        }
        let said = |name: &str| answer[name].as_str().map(str::to_owned).ok_or_else(|| self.unreadable());
        let remedy = match status {
            StatusCode::UNAUTHORIZED => format!(
                "{} does not hold the token of the daemon at {}: {}",
                self.token_file.display(),
                self.at,
                self.whose()
            ),
            _ => said("remedy")?,
        };
        Err(Fault::fatal("daemon_refused", format!("have {path} of the daemon"))
            .with_source(format!("{} [{}]", said("detail")?, said("code")?))
            .with_remedy(remedy))
    }

    fn unreadable(&self) -> Fault {
        Fault::fatal("daemon_unreadable", format!("read what {} answers", self.at))
            .with_remedy("something else than liteferry listens there: see http.listen")
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        (order, token): (Option<&Value>, Option<&str>),
    ) -> Result<Request<Body>, Fault> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.at.to_string());
        request = request.header(CONNECTION, "close");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match order {
            None => Body::empty(),
            Some(order) => {
                request = request.header(CONTENT_TYPE, "application/json").header(ACTOR, actor());
                Body::from(order.to_string())
            }
        };
        request.body(body).map_err(|error| {
            Fault::fatal("token_file_unusable", format!("bear the token of {}", self.token_file.display()))
                .with_remedy("the token must be letters on one line; remove the file, and one is made")
                .with_source(error)
        })
    }

    /// Made by the daemon, never by its clients.
    fn token(&self) -> Result<String, Fault> {
        let read = std::fs::read_to_string(&self.token_file);
        read.map(|token| token.trim().to_owned()).map_err(|error| {
            // The default lies in the directory that one is in.
            let file = std::path::absolute(&self.token_file).unwrap_or_else(|_| self.token_file.clone());
            Fault::fatal("token_file_unusable", format!("read the token file {}", file.display()))
                .with_remedy(
                    "run as the daemon's user, in its directory, with the same state.dir and http.token_file",
                )
                .with_source(error)
        })
    }
}

/// By such a file the daemon goes no more, whoever made it so while it runs.
fn is_exposed(token_file: &Path) -> bool {
    token_file.metadata().is_ok_and(|metadata| metadata.mode() & 0o077 != 0)
}

/// Whether one who follows this carries it to where the settings say.
fn is_there(settings: &Settings, follows: &Value) -> Result<bool, Failure> {
    let there = match &settings.target.url {
        Some(url) if url == EMBEDDED => true,
        Some(url) => follows["target"] == digest(&address(settings, url)?.describe()),
        None => false,
    };
    Ok(there && follows["schema"] == digest(&settings.target.schema))
}

const ACTOR: &str = "x-liteferry-actor";

fn actor() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default();
    let plain: String = user.chars().filter(char::is_ascii_graphic).collect();
    format!("liteferry {plain}").trim().to_owned()
}

/// The fault, with a reason of the daemon's for its cause.
pub fn for_the_reason(fault: Fault, reason: &Value) -> Fault {
    let said = |name: &str| reason[name].as_str().unwrap_or_default().to_owned();
    fault.with_source(format!("{} [{}]", said("sentence"), said("code"))).with_remedy(said("remedy"))
}

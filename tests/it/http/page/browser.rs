//! A browser of one test's own, driven over WebDriver: chromedriver on a free port, headless chromium, a profile that is thrown away.

use crate::support::skipped::skipped;
use crate::support::{PATIENCE, until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub struct Browser {
    driver: Child,
    /// Held, so that the driver can go on speaking.
    _told: BufReader<ChildStdout>,
    port: u16,
    session: String,
    /// Chromium's own process.
    process: Option<u64>,
    _profile: TempDir,
}

const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

impl Browser {
    /// `None`, and a word about it, where there is none to be had.
    pub fn start() -> Option<Browser> {
        let profile = tempfile::tempdir().expect("a directory can be made");
        let (driver, told, port) = driver()?;
        let mut browser =
            Browser { driver, _told: told, port, session: String::new(), process: None, _profile: profile };
        let profile = format!("--user-data-dir={}", browser._profile.path().display());
        let args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", &profile];
        let wanted = json!({
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": wanted } });
        let (began, mut made) = (Instant::now(), browser.ask("POST", "/session", &wanted));
        // On a busy machine the driver gives up a browser that is slow to start.
        while made["sessionId"].is_null() && began.elapsed() < *PATIENCE {
            if made["message"].as_str().is_some_and(|message| message.contains("Chrome binary")) {
                skipped("chromium is not installed");
                return None;
            }
            made = browser.ask("POST", "/session", &wanted);
        }
        browser.process = made["capabilities"]["goog:processID"].as_u64();
        browser.session = made["sessionId"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        browser.look((1280, 900), "light");
        Some(browser)
    }

    pub fn open(&self, url: &str) {
        self.tell("/url", &json!({ "url": url }));
    }

    /// The value of an expression in the page.
    pub fn run(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        self.tell("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    #[track_caller]
    pub fn until(&self, what: &str, expression: &str) {
        let began = Instant::now();
        let safe = format!("(() => {{ try {{ return {expression}; }} catch {{ return false; }} }})()");
        while self.run(&safe) != json!(true) {
            let shown = || self.run("document.body.innerText");
            assert!(began.elapsed() < *PATIENCE, "waited in vain: {what}\n{}", shown());
            sleep(Duration::from_millis(100));
        }
    }

    /// As a person does, who waits until it is there and can be clicked.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let (began, mut refused) = (Instant::now(), Value::Null);
        while began.elapsed() < *PATIENCE {
            refused = self.try_click(selector);
            if refused["error"].is_null() {
                return;
            }
            sleep(Duration::from_millis(100));
        }
        panic!("{selector} cannot be clicked: {refused:#}");
    }

    /// What the driver says of it; what the page has made anew meanwhile is another element.
    fn try_click(&self, selector: &str) -> Value {
        let able = self
            .run(&format!("!(document.querySelector({}) ?? {{ disabled: true }}).disabled", json!(selector)));
        if able != json!(true) {
            return json!({ "error": "it is not there, or shut" });
        }
        let session = format!("/session/{}", self.session);
        let found = json!({ "using": "css selector", "value": selector });
        let found = self.ask("POST", &format!("{session}/element"), &found);
        match found[ELEMENT].as_str() {
            Some(element) => self.ask("POST", &format!("{session}/element/{element}/click"), &json!({})),
            None => found,
        }
    }

    pub fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.tell(&format!("/element/{element}/clear"), &json!({}));
        self.tell(&format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// A key, or text, to what has the focus.
    pub fn press(&self, keys: &str) {
        let active = self.ask("GET", &format!("/session/{}/element/active", self.session), &json!({}));
        let element = active[ELEMENT].as_str().unwrap_or_else(|| panic!("nothing has the focus: {active}"));
        self.tell(&format!("/element/{element}/value"), &json!({ "text": keys }));
    }

    pub fn look(&self, (width, height): (u32, u32), colours: &str) {
        let mobile = width < 600;
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile }),
        );
        let feature = json!({ "name": "prefers-color-scheme", "value": colours });
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    /// The whole page as PNG.
    pub fn picture(&self) -> Vec<u8> {
        let shot = self.devtools("Page.captureScreenshot", json!({ "captureBeyondViewport": true }));
        decoded(shot["data"].as_str().expect("a picture"))
    }

    /// Nothing was blocked, and nothing went wrong in the page, but requests to a server that had gone.
    #[track_caller]
    pub fn is_silent(&self) {
        let log = self.tell("/se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().cloned().unwrap_or_default();
        let said = entries.iter().filter_map(|entry| entry["message"].as_str());
        let expected = [
            "ERR_CONNECTION_REFUSED",
            "ERR_INCOMPLETE_CHUNKED",
            "401 (",
            "503 (",
            "ERR_EMPTY_RESPONSE",
            "ERR_CONNECTION_RESET",
        ];
        let odd: Vec<&str> = said.filter(|said| !expected.iter().any(|known| said.contains(known))).collect();
        assert!(odd.is_empty(), "{odd:#?}");
    }

    fn element(&self, selector: &str) -> String {
        let found = self.tell("/element", &json!({ "using": "css selector", "value": selector }));
        found[ELEMENT].as_str().unwrap_or_else(|| panic!("{selector}: {found}")).to_owned()
    }

    fn devtools(&self, command: &str, params: Value) -> Value {
        self.tell("/goog/cdp/execute", &json!({ "cmd": command, "params": params }))
    }

    #[track_caller]
    fn tell(&self, path: &str, body: &Value) -> Value {
        let value = self.ask("POST", &format!("/session/{}{path}", self.session), body);
        assert!(value["error"].is_null(), "{path}: {value:#}");
        value
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_ask(method, path, body).expect("the driver answers")
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> std::io::Result<Value> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(*PATIENCE))?;
        let body = body.to_string();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost:{}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all((head + &body).as_bytes())?;
        let mut answer = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            answer.read_line(&mut line)?;
            match line.to_ascii_lowercase().strip_prefix("content-length:") {
                Some(told) => length = told.trim().parse().map_err(std::io::Error::other)?,
                None if line.trim().is_empty() => break,
                None => {}
            }
        }
        let mut body = vec![0; length];
        answer.read_exact(&mut body)?;
        let mut answer: Value = serde_json::from_slice(&body)?;
        Ok(answer["value"].take())
    }
}

/// The port that it finds free in one protocol may be taken in the other; then it ends, and is started again.
fn driver() -> Option<(Child, BufReader<ChildStdout>, u16)> {
    let began = Instant::now();
    loop {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut driver) = command.spawn() else {
            skipped("chromedriver is not installed");
            return None;
        };
        let mut told = BufReader::new(driver.stdout.take().expect("it was asked for"));
        if let Some(port) = port_told(&mut told) {
            return Some((driver, told, port));
        }
        let ended = driver.wait().expect("it is our child");
        assert!(began.elapsed() < *PATIENCE, "chromedriver ended: {ended}");
        sleep(Duration::from_millis(100));
    }
}

/// `None` where it ends before it listens.
fn port_told(told: &mut impl BufRead) -> Option<u16> {
    let mut line = String::new();
    while told.read_line(&mut line).expect("it speaks") > 0 {
        if let Some((_, port)) = line.trim().trim_end_matches('.').rsplit_once("successfully on port ") {
            return Some(port.parse().expect("a port is a number"));
        }
        line.clear();
    }
    None
}

impl Drop for Browser {
    /// After a failed test too, when nothing here may fail once more: the driver ends what it has started, or else we do.
    fn drop(&mut self) {
        let session = format!("/session/{}", self.session);
        let _ended = self.try_ask("DELETE", &session, &json!({}));
        if let Some(process) = self.process.filter(|process| is_alive(*process)) {
            let _killed = Command::new("kill").args(["-KILL", &process.to_string()]).status();
        }
        let _ended_already = self.driver.kill();
        let _reaped_already = self.driver.wait();
    }
}

/// Ours, and not one that has got its number since.
fn is_alive(process: u64) -> bool {
    let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains("--user-data-dir=")
}

#[test]
fn a_failed_test_leaves_no_browser_behind() {
    let Some(browser) = Browser::start() else { return };
    let process = browser.process.expect("the driver names the process");
    assert!(is_alive(process));
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _dropped_on_the_way = browser;
        panic!("as a failed test does");
    }));
    assert!(failed.is_err());
    until("chromium has gone", || !is_alive(process));
}

/// Base64.
fn decoded(text: &str) -> Vec<u8> {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = letters.iter().position(|known| *known == letter).expect("base64");
        bits = ((bits << 6) | u32::try_from(value).expect("below 64")) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).expect("a byte"));
        }
    }
    bytes
}

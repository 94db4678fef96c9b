//! Someone with a browser: keeps cookies, and fills forms in.

use std::collections::BTreeMap;

use crate::client::{Answer, try_request};

/// A visitor of one app.
pub struct Visitor {
    port: u16,
    host: String,
    cookies: BTreeMap<String, String>,
}

impl Visitor {
    pub fn of(port: u16, app: &str) -> Self {
        Self { port, host: format!("{app}.localhost"), cookies: BTreeMap::new() }
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    /// Opens the page of a form and sends it with these values, and with Django's own.
    #[track_caller]
    pub fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.get(path);
        let token = page.body.split("name=\"csrfmiddlewaretoken\" value=\"").nth(1);
        let token =
            token.and_then(|rest| rest.split('"').next()).unwrap_or_else(|| panic!("no form: {page:?}"));
        let fields = [fields, &[("csrfmiddlewaretoken", token)]].concat();
        let escaped = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
        let form: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        self.ask("POST", path, &form.join("&"))
    }

    #[track_caller]
    fn ask(&mut self, method: &str, path: &str, form: &str) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nCookie: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            self.host,
            cookies.join("; "),
            form.len()
        );
        let answer =
            try_request(self.port, &request).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        for line in answer.head.lines() {
            let Some((name, value)) = line.split_once(": ") else { continue };
            let pair = value.split(';').next().and_then(|pair| pair.split_once('='));
            if let Some((key, value)) = pair.filter(|_| name.eq_ignore_ascii_case("set-cookie")) {
                self.cookies.insert(key.to_owned(), value.to_owned());
            }
        }
        answer
    }
}

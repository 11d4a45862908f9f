//! A request's head, read before the HTTP library sees any of it: its size, its form, what it is for, and how long its body is. Pure.
//!
//! It is stricter than RFC 9112 has to be: every line ends in CRLF, a body has a `Content-Length` and no `Transfer-Encoding`, and no connection becomes anything
//! else. So there is one way only to say where a request ends.

use partner_sdk::{Code, Problem};

/// The largest head, in bytes, request line and last empty line counted.
pub const MAX_HEAD: usize = 16 * 1024;
/// The most headers of a request.
const MAX_HEADERS: usize = 64;

/// What a head says.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// Its own length in bytes.
    pub length: usize,
    /// The length of the body that follows, in bytes.
    pub body: u64,
    /// The name in `Host`, without the port, in small letters; none where HTTP/1.0 has none.
    pub host: Option<String>,
}

/// Reads the head that `bytes` begin with, of which the first `seen` were looked at before. `None`: it isn't complete.
pub fn read(bytes: &[u8], seen: usize) -> Result<Option<Head>, Box<Problem>> {
    let Some(length) = end(bytes, seen)? else {
        return Ok(None);
    };
    if length > MAX_HEAD {
        return Err(problem(Code::HeadersTooLarge, Code::HeadersTooLarge.title()));
    }
    let mut room = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut room);
    match request.parse(&bytes[..length]) {
        Ok(httparse::Status::Complete(read)) if read == length => {}
        Err(httparse::Error::TooManyHeaders) => return Err(problem(Code::HeadersTooLarge, Code::HeadersTooLarge.title())),
        _ => return Err(bad("the request's head isn't HTTP/1.1")),
    }
    let target = request.path.unwrap_or_default();
    if request.method == Some("CONNECT") || !target.starts_with('/') || target.parse::<actix_web::http::Uri>().is_err() {
        return Err(bad("the request's target isn't a path"));
    }
    Ok(Some(Head {
        length,
        body: body(request.headers)?,
        host: host(request.headers, request.version == Some(0))?,
    }))
}

/// Where the head ends; every line of it in CRLF. `None`: not yet.
fn end(bytes: &[u8], seen: usize) -> Result<Option<usize>, Box<Problem>> {
    // A line's end may lie across what was seen before.
    for at in seen.saturating_sub(3)..bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'\n', _) if at == 0 || bytes[at - 1] != b'\r' => return Err(bad("a line of the head ends in LF alone")),
            (b'\r', Some(next)) if *next != b'\n' => return Err(bad("a CR stands alone in the head")),
            (0, _) => return Err(bad("a NUL stands in the head")),
            _ if bytes[..=at].ends_with(b"\r\n\r\n") => return Ok(Some(at + 1)),
            _ => {}
        }
    }
    if bytes.len() >= MAX_HEAD {
        return Err(problem(Code::HeadersTooLarge, Code::HeadersTooLarge.title()));
    }
    Ok(None)
}

/// The body's length.
fn body(headers: &[httparse::Header<'_>]) -> Result<u64, Box<Problem>> {
    let named = |name: &'static str| headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    if named("transfer-encoding").next().is_some() {
        return Err(problem(Code::LengthRequired, "Transfer-Encoding isn't taken"));
    }
    // A library would take the connection for something that has no end.
    let websocket = |header: &httparse::Header<'_>| header.value.to_ascii_lowercase().windows(9).any(|part| part == b"websocket");
    if named("upgrade").any(websocket) {
        return Err(bad("there is nothing to upgrade to"));
    }
    let mut lengths = named("content-length");
    let Some(length) = lengths.next() else { return Ok(0) };
    let digits = std::str::from_utf8(length.value)
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    match (digits.and_then(|text| text.parse().ok()), lengths.next()) {
        (Some(length), None) => Ok(length),
        _ => Err(bad("Content-Length isn't one number")),
    }
}

/// The name in `Host`.
fn host(headers: &[httparse::Header<'_>], old: bool) -> Result<Option<String>, Box<Problem>> {
    let mut hosts = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
    match (hosts.next(), hosts.next()) {
        (None, _) if old => Ok(None),
        (Some(host), None) => match std::str::from_utf8(host.value).ok().and_then(name) {
            Some(name) => Ok(Some(name)),
            None => Err(bad("Host isn't a name or address with or without a port")),
        },
        _ => Err(bad("there has to be one Host")),
    }
}

/// The name of `name:port`; of an IPv6 address in brackets, the address.
fn name(authority: &str) -> Option<String> {
    let authority: actix_web::http::uri::Authority = authority.parse().ok()?;
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = authority.as_str().strip_prefix(authority.host())?;
    let numbered = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let as_is = !name.is_empty() && (port.is_empty() || port.strip_prefix(':').is_some_and(numbered));
    as_is.then(|| name.trim_end_matches('.').to_ascii_lowercase())
}

fn problem(code: Code, detail: &str) -> Box<Problem> {
    Box::new(Problem::new(code, detail))
}

fn bad(detail: &str) -> Box<Problem> {
    problem(Code::BadRequest, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<Code> {
        read(text.as_bytes(), 0).err().map(|problem| problem.code)
    }

    #[test]
    fn a_head_says_where_it_and_its_body_end() {
        let text = "POST /v1/messages?a=b HTTP/1.1\r\nHost: LocalHost:8443\r\nContent-Length: 12\r\n\r\nabc";
        let head = Head {
            length: text.len() - 3,
            body: 12,
            host: Some("localhost".into()),
        };
        assert_eq!(read(text.as_bytes(), 0), Ok(Some(head)));
        // Byte by byte it comes to the same.
        for cut in 0..text.len() - 3 {
            assert_eq!(read(&text.as_bytes()[..cut], cut.saturating_sub(1)), Ok(None), "{cut}");
        }
        assert!(matches!(read(text.as_bytes(), text.len() - 4), Ok(Some(_))));
        for (host, name) in [("[::1]:1", "::1"), ("a.example.", "a.example"), ("10.0.0.5", "10.0.0.5")] {
            let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let head = read(text.as_bytes(), 0).expect("good").expect("whole");
            assert_eq!(head.host.as_deref(), Some(name));
        }
        assert_eq!(read(b"GET / HTTP/1.0\r\n\r\n", 0).expect("good").expect("whole").host, None);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        for bad in [
            "GET / HTTP/1.1\nHost: a\n\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a\n\r\n".to_owned(),
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n".to_owned(),
            with("X: a\0b\r\n"),
            with("X: a\r\n b\r\n"),
            with("X : a\r\n"),
            with("Host: b\r\n"),
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a:99999x\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a:+1\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a:\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a:1:1\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: [::1]1\r\n\r\n".to_owned(),
            "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "PRI * HTTP/2.0\r\n\r\n".to_owned(),
            with("Content-Length: 1\r\nContent-Length: 1\r\n"),
            with("Content-Length: 1, 1\r\n"),
            with("Content-Length: +1\r\n"),
            with("Content-Length:\r\n"),
            with("Content-Length: 99999999999999999999\r\n"),
            with("Upgrade: WebSocket\r\n"),
        ] {
            assert_eq!(code(&bad), Some(Code::BadRequest), "{bad:?}");
        }
        for chunked in ["Transfer-Encoding: chunked\r\n", "Content-Length: 3\r\nTransfer-Encoding: x\r\n"] {
            assert_eq!(code(&with(chunked)), Some(Code::LengthRequired), "{chunked:?}");
        }
    }

    #[test]
    fn heads_are_bounded() {
        let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
        let endless = &large[..MAX_HEAD];
        let lines: String = (0..MAX_HEADERS).map(|no| format!("x-{no}: a\r\n")).collect();
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(MAX_HEAD));
        for text in [&large, endless, &many, &long] {
            assert_eq!(code(text), Some(Code::HeadersTooLarge));
        }
        let just = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", &lines[..lines.len() - "x-63: a\r\n".len()]);
        assert!(matches!(read(just.as_bytes(), 0), Ok(Some(_))));
    }
}

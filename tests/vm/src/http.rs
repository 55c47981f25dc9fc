//! A small HTTP/1.1 client with a limit on everything, for the ports that a machine forwards.
//! Requests ask for `Connection: close` unless a [`KeepAlive`] connection is used.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One request on a connection of its own.
pub fn request(port: u16, method: &str, path: &str, body: &[u8], limit: Duration) -> Result<Reply> {
    let mut connection = KeepAlive::open(port, limit)?;
    connection.send(method, path, body, true)?;
    connection.receive()
}

/// A connection for many requests.
#[derive(Debug)]
pub struct KeepAlive {
    reader: BufReader<TcpStream>,
}

impl KeepAlive {
    /// Connects to a port of 127.0.0.1; the limit holds for each step.
    pub fn open(port: u16, limit: Duration) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = TcpStream::connect_timeout(&address, limit).context("connect")?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        stream.set_nodelay(true)?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// A request and its reply; the connection stays.
    pub fn request(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Reply> {
        self.send(method, path, body, false)?;
        self.receive()
    }

    /// The stream below, for tests that misbehave on purpose.
    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    fn send(&mut self, method: &str, path: &str, body: &[u8], close: bool) -> Result<()> {
        let connection = if close { "close" } else { "keep-alive" };
        let mut message = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: {connection}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        message.extend_from_slice(body);
        self.reader.get_mut().write_all(&message).context("send")
    }

    fn receive(&mut self) -> Result<Reply> {
        let status_line = self.line()?;
        let status = status_line
            .split_whitespace()
            .nth(1)
            .and_then(|code| code.parse().ok())
            .with_context(|| format!("bad status line {status_line:?}"))?;
        let (mut length, mut chunked) = (None, false);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').context("bad header")?;
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = Some(value.trim().parse::<usize>()?),
                "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
                _ => {}
            }
        }
        let body = match length {
            _ if chunked => self.chunks()?,
            Some(length) => self.exactly(length)?,
            None => {
                let mut rest = Vec::new();
                self.reader.read_to_end(&mut rest).context("receive body")?;
                rest
            }
        };
        Ok(Reply { status, body })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).context("receive")? == 0 {
            bail!("connection closed before the reply");
        }
        Ok(line.trim_end().to_owned())
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        (&mut self.reader).take(length as u64).read_to_end(&mut body).context("receive body")?;
        if body.len() != length {
            bail!("body of {} bytes instead of {length}", body.len());
        }
        Ok(body)
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(self.line()?.trim(), 16).context("bad chunk size")?;
            body.extend(self.exactly(size)?);
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
}

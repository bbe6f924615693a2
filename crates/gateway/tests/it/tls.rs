//! TLS beside HTTP on one port, and handshakes that do not come.

use crate::door::{Door, credentials};
use gateway::{Limits, Tls};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const ECHO: &str = "Action=Echo&Text=hello";

pub struct Certificate {
    der: Vec<u8>,
    key: Vec<u8>,
}

pub fn certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Certificate { der: made.cert.der().to_vec(), key: made.signing_key.serialize_der() }
}

impl Certificate {
    pub fn tls(&self) -> Tls {
        Tls::new(vec![self.der.clone()], self.key.clone()).unwrap()
    }

    /// A connection of a client that trusts this certificate alone.
    async fn connect(&self, door: &Door, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        self.over(TcpStream::connect(door.at).await.unwrap(), protocols).await
    }

    pub async fn over(&self, stream: TcpStream, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.der.clone())).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

/// One request of HTTP/1.1; the status line and what follows, until the text of the body is there.
async fn ask(stream: &mut TlsStream<TcpStream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("</EchoResponse>") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn one_port_speaks_tls_and_plain_http() {
    let certificate = certificate();
    let door = Door::with_tls(Limits::default(), Some(certificate.tls())).await;
    assert_eq!(door.ask(&door.post(&credentials("ec2"), ECHO)).await.status, 200);
    let mut stream = certificate.connect(&door, &["http/1.1"]).await.unwrap();
    for _ in 0..2 {
        let answer = ask(&mut stream, &door.post(&credentials("ec2"), ECHO)).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("111111111111 hello"), "{answer}");
    }
}

#[tokio::test]
async fn http_2_is_agreed_upon_within_tls() {
    let certificate = certificate();
    let door = Door::with_tls(Limits::default(), Some(certificate.tls())).await;
    let stream = certificate.connect(&door, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://localhost/_nube/health").body(Full::<bytes::Bytes>::default());
    let answer = client.send_request(request.unwrap()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("running"));
}

#[tokio::test]
async fn handshakes_that_do_not_come_give_their_places_back() {
    let certificate = certificate();
    let limits = Limits { connections: 2, header_timeout: Duration::from_millis(500), ..Limits::default() };
    let door = Door::with_tls(limits, Some(certificate.tls())).await;
    let mut hoard = Vec::new();
    // Silence, a handshake that begins and stops, and what only looks like one.
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"\x16nonsense that no client says"] {
        let mut stream = TcpStream::connect(door.at).await.unwrap();
        stream.write_all(sent).await.unwrap();
        hoard.push(stream);
    }
    for stream in &mut hoard {
        let mut rest = Vec::new();
        // Closed, perhaps with an alert.
        let _reset = stream.read_to_end(&mut rest).await;
    }
    let mut stream = certificate.connect(&door, &[]).await.unwrap();
    let answer = ask(&mut stream, &door.post(&credentials("ec2"), ECHO)).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_breaks_no_old_one() {
    let (old, new) = (certificate(), certificate());
    let tls = old.tls();
    let door = Door::with_tls(Limits::default(), Some(tls.clone())).await;
    let mut before = old.connect(&door, &[]).await.unwrap();
    tls.replace(vec![new.der.clone()], new.key.clone()).unwrap();
    old.connect(&door, &[]).await.unwrap_err();
    for stream in [&mut before, &mut new.connect(&door, &[]).await.unwrap()] {
        assert!(ask(stream, &door.post(&credentials("ec2"), ECHO)).await.starts_with("HTTP/1.1 200"));
    }
}

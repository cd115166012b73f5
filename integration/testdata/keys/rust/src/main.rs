// Fetches a URL twice, by the client that the first argument names. Two
// versions of rustls are in the program.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

mod new {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    pub struct Trusting;
    impl ServerCertVerifier for Trusting {
        fn verify_server_cert(&self, _: &CertificateDer<'_>, _: &[CertificateDer<'_>], _: &ServerName<'_>, _: &[u8], _: UnixTime) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ED25519]
        }
    }
    pub fn config() -> rustls::ClientConfig {
        rustls::ClientConfig::builder().dangerous().with_custom_certificate_verifier(std::sync::Arc::new(Trusting)).with_no_client_auth()
    }
}

mod old {
    use rustls021::client::{ServerCertVerified, ServerCertVerifier};
    use rustls021::{Certificate, ClientConfig, Error, ServerName};

    struct Trusting;
    impl ServerCertVerifier for Trusting {
        fn verify_server_cert(&self, _: &Certificate, _: &[Certificate], _: &ServerName, _: &mut dyn Iterator<Item = &[u8]>, _: &[u8], _: std::time::SystemTime) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }
    }
    pub fn config() -> ClientConfig {
        ClientConfig::builder().with_safe_defaults().with_custom_certificate_verifier(std::sync::Arc::new(Trusting)).with_no_client_auth()
    }
}

fn exchange(mut stream: impl Read + Write, authority: &str, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (client, url) = (args[1].as_str(), args[2].clone());
    let rest = url.strip_prefix("https://").unwrap();
    let (authority, path) = rest.split_at(rest.find('/').unwrap());
    let run = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match client {
        "0.23" | "file" => {
            let mut config = new::config();
            if client == "file" {
                config.key_log = Arc::new(rustls::KeyLogFile::new());
            }
            let config = Arc::new(config);
            for _ in 0..2 {
                let mut c = rustls::ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
                let mut s = TcpStream::connect(authority).unwrap();
                exchange(rustls::Stream::new(&mut c, &mut s), authority, path);
            }
        }
        "0.21" => {
            let config = Arc::new(old::config());
            for _ in 0..2 {
                let mut c = rustls021::ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
                let mut s = TcpStream::connect(authority).unwrap();
                exchange(rustls021::Stream::new(&mut c, &mut s), authority, path);
            }
        }
        "ureq" => {
            let agent = ureq::AgentBuilder::new().tls_config(Arc::new(new::config())).build();
            for _ in 0..2 {
                agent.get(&url).call().unwrap().into_string().unwrap();
            }
        }
        "reqwest" => run.block_on(async {
            let c = reqwest::Client::builder().danger_accept_invalid_certs(true).build().unwrap();
            for _ in 0..2 {
                c.get(&url).send().await.unwrap().bytes().await.unwrap();
            }
        }),
        "hyper-rustls" => run.block_on(async {
            use http_body_util::{BodyExt, Empty};
            let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(new::config()).https_only().enable_http1().build();
            let c: hyper_util::client::legacy::Client<_, Empty<hyper::body::Bytes>> =
                hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build(https);
            for _ in 0..2 {
                c.get(url.parse().unwrap()).await.unwrap().into_body().collect().await.unwrap();
            }
        }),
        _ => panic!("no client {client}"),
    }
}

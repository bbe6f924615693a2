//! A gateway on a port of its own, and a client that signs and speaks plain HTTP/1.1.

use control::access::AllowAll;
use control::entropy::SeededEntropy;
use control::{Cloud, Context, RegionSettings, Schema, Service, Settings, Tables, Touched, View};
use gateway::{Emulation, Gateway, Handed, Limits, Tls};
use model::clock::ManualClock;
use model::record::access_key::{AccessKey, Secret, Session};
use model::record::vpc_endpoint::VpcEndpoint;
use model::{AccessKeyId, AccountId, Clock as _, CloudTag, Region, Timestamp};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::Memory;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use wire::sigv2;
use wire::sigv4::{self, Credentials, Payload};
use wire::{Member, Operation, OperationShape, Protocol, ServiceShape, StructShape, Target};

pub const ALICE: AccountId = AccountId::from_number(111_111_111_111);
pub const KEY: &str = "AKIAEXAMPLEEXAMPLE00";
pub const TEMPORARY: &str = "ASIAEXAMPLEEXAMPLE00";
pub const SECRET: &str = "a secret of forty characters, more/less+";
pub const TOKEN: &str = "a session/token+=";

pub struct EchoRequest {
    pub text: Option<String>,
}
wire::structure!(EchoRequest, ECHO_REQUEST; 0 text: None);
static ECHO_REQUEST: StructShape = StructShape {
    name: "EchoRequest",
    members: &[Member { name: "Text", target: Target::STRING, ..Member::BASE }],
    ..StructShape::BASE
};

pub struct EchoResult {
    pub text: Option<String>,
}
wire::structure!(EchoResult, ECHO_RESULT; 0 text: None);
static ECHO_RESULT: StructShape = StructShape {
    name: "EchoResult",
    members: &[Member { name: "Text", target: Target::STRING, ..Member::BASE }],
    ..StructShape::BASE
};

macro_rules! operations {
    ($($name:ident)*) => {
        $(
            struct $name;
            impl Operation for $name {
                type Input = EchoRequest;
                type Output = EchoResult;
                const SHAPE: &'static OperationShape = &OperationShape {
                    name: stringify!($name),
                    input: &ECHO_REQUEST,
                    output: &ECHO_RESULT,
                    ..OperationShape::BASE
                };
            }
        )*
        const OPERATIONS: &[&OperationShape] = &[$($name::SHAPE),*];
    };
}
operations!(Echo Panic Wait);

static EC2: ServiceShape = ServiceShape {
    name: "ec2",
    api_version: "2016-11-15",
    protocol: Protocol::Ec2,
    xml_namespace: "urn:ec2",
    operations: OPERATIONS,
};
static STS: ServiceShape = ServiceShape {
    name: "sts",
    api_version: "2011-06-15",
    protocol: Protocol::Query,
    xml_namespace: "urn:sts",
    operations: OPERATIONS,
};
static KMS: ServiceShape = ServiceShape {
    name: "kms",
    api_version: "2014-11-01",
    protocol: Protocol::Json11,
    xml_namespace: "",
    operations: OPERATIONS,
};

/// The same in a service of the rest protocol.
struct RestEcho;
struct Unsigned;
const REST_SHAPE: OperationShape =
    OperationShape { input: &ECHO_REQUEST, output: &ECHO_RESULT, ..OperationShape::BASE };
impl Operation for RestEcho {
    type Input = EchoRequest;
    type Output = EchoResult;
    const SHAPE: &'static OperationShape =
        &OperationShape { name: "RestEcho", method: "PUT", uri: "/echo/{name}", status: 201, ..REST_SHAPE };
}
impl Operation for Unsigned {
    type Input = EchoRequest;
    type Output = EchoResult;
    const SHAPE: &'static OperationShape =
        &OperationShape { name: "Unsigned", uri: "/unsigned", unsigned_payload: true, ..REST_SHAPE };
}
static EBS: ServiceShape = ServiceShape {
    name: "ebs",
    api_version: "2019-11-02",
    protocol: Protocol::RestJson,
    xml_namespace: "",
    operations: &[RestEcho::SHAPE, Unsigned::SHAPE],
};

fn rest() -> Service {
    let mut service = Service::new(&EBS);
    service.read(RestEcho, |_, _, _| Touched::anything(), echo).read(
        Unsigned,
        |_, _, _| Touched::anything(),
        echo,
    );
    service
}

fn echo(ctx: &Context, request: &EchoRequest, _: &Tables) -> control::Result<EchoResult> {
    let text = format!("{} {}", ctx.account(), request.text.as_deref().unwrap_or_default());
    Ok(EchoResult { text: Some(text) })
}

/// An operation that is under way says so, then waits to be let go. One test alone uses it.
pub static UNDER_WAY: Semaphore = Semaphore::const_new(0);
pub static LET_GO: Semaphore = Semaphore::const_new(0);

fn service(shape: &'static ServiceShape) -> Service {
    let mut service = Service::new(shape);
    service
        .read(
            Echo,
            |_, _, _| Touched::anything(),
            |ctx, request, _| {
                let text = format!("{} {}", ctx.account(), request.text.as_deref().unwrap_or_default());
                Ok(EchoResult { text: Some(text) })
            },
        )
        .read(Panic, |_, _, _| Touched::anything(), |_, _, _| panic!("a bug in one operation"))
        .call(
            Wait,
            |_, _, _| Touched::anything(),
            |_, _| async {
                UNDER_WAY.add_permits(1);
                LET_GO.acquire().await.unwrap().forget();
                Ok(EchoResult { text: Some("waited".into()) })
            },
        );
    service
}

pub struct Door {
    pub at: SocketAddr,
    pub clock: Arc<ManualClock>,
    pub cloud: Arc<Cloud>,
    /// Takes connections that others have accepted.
    pub handed: mpsc::Sender<Handed>,
    pub stop: oneshot::Sender<()>,
    pub serving: JoinHandle<()>,
}

impl Door {
    pub async fn open() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        Self::emulating(limits, |_| Emulation::default()).await
    }

    pub async fn emulating(limits: Limits, emulation: impl FnOnce(&Arc<Cloud>) -> Emulation) -> Self {
        Self::open_with(limits, emulation, None).await
    }

    pub async fn with_tls(limits: Limits, tls: Option<Tls>) -> Self {
        Self::open_with(limits, |_| Emulation::default(), tls).await
    }

    async fn open_with(
        limits: Limits,
        emulation: impl FnOnce(&Arc<Cloud>) -> Emulation,
        tls: Option<Tls>,
    ) -> Self {
        let region = Region::parse("us-east-1").unwrap();
        let store = Arc::new(Memory::default());
        let mut schema = Schema::default();
        schema.add::<AccessKey>().add::<VpcEndpoint>();
        let view = View::open(store.clone(), schema).await.unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_767_225_600_000)));
        let settings = Settings {
            tag: CloudTag::parse("test00").unwrap(),
            regions: vec![RegionSettings { region, zones: Vec::new() }],
            byoip: Vec::new(),
            gateway_services: Vec::new(),
            public_pool: "198.18.0.0/22".parse().unwrap(),
            ipv6_pool: "fd12:3456:7800::/40".parse().unwrap(),
            overcommit: model::Overcommit::default(),
            public_images: control::PublicImages::Absent,
            status_checks: std::time::Duration::ZERO,
            buckets: None,
        };
        let entropy = Arc::new(SeededEntropy::new(1));
        let (policy, root) = (Arc::new(AllowAll), control::keys::RootKey::new([7; 32]));
        let cloud = Cloud::new(store, view, clock.clone(), entropy, policy, root, settings);
        let expires_at = clock.now() + Duration::from_mins(10);
        let session = Session { token: Secret::new(TOKEN.into()), expires_at };
        for (id, session) in [(KEY, None), (TEMPORARY, Some(session))] {
            let key = AccessKey {
                access_key: AccessKeyId::parse(id).unwrap(),
                secret: Secret::new(SECRET.into()),
                account: ALICE,
                principal: format!("arn:aws:iam::{ALICE}:root"),
                user_id: ALICE.to_string(),
                created_at: clock.now(),
                session,
            };
            let put = |txn: &mut control::Txn<'_>| {
                txn.put(&Region::global(), key.clone());
                Ok(())
            };
            cloud.transact(control::cloud::Mode::Shared, put).await.unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (handed, taken) = mpsc::channel(1);
        let gateway = Arc::new(Gateway {
            emulation: emulation(&cloud),
            cloud: Arc::clone(&cloud),
            services: vec![service(&EC2), service(&STS), service(&KMS), rest()],
            limits,
            signing_keys: gateway::SigningKeys::default(),
        });
        let serving = tokio::spawn(gateway::serve_with(gateway, listener, tls, Some(taken), async move {
            let _ = stopped.await;
        }));
        Self { at, clock, cloud, handed, stop, serving }
    }

    pub async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.at).await.unwrap())
    }

    pub fn now(&self) -> i64 {
        self.clock.now().as_secs()
    }

    pub fn host(&self) -> String {
        self.at.to_string()
    }

    /// A signed POST as text.
    pub fn post(&self, credentials: &Credentials<'_>, body: &str) -> String {
        self.post_to("/", credentials, body)
    }

    pub fn post_to(&self, path: &str, credentials: &Credentials<'_>, body: &str) -> String {
        let host = self.host();
        let headers = [("host", host.as_bytes())];
        let request = sigv4::Request { method: "POST", path, query: "", headers: &headers };
        let added = sigv4::sign(&request, &Payload::of(body.as_bytes()), credentials, self.now()).unwrap();
        let mut text = format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in added {
            text.extend([name, ": ", &value, "\r\n"]);
        }
        text + "\r\n" + body
    }

    /// A signed POST of the JSON protocols as text; without a target none is named.
    pub fn post_json(&self, target: Option<&str>, body: &str) -> String {
        let host = self.host();
        let mut headers = vec![("host", host.as_bytes())];
        headers.extend(target.map(|target| ("x-amz-target", target.as_bytes())));
        let request = sigv4::Request { method: "POST", path: "/", query: "", headers: &headers };
        let payload = Payload::of(body.as_bytes());
        let added = sigv4::sign(&request, &payload, &credentials("kms"), self.now()).unwrap();
        let mut text = format!("POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\n", body.len());
        text += "content-type: application/x-amz-json-1.1\r\n";
        let target = target.map(|target| ("x-amz-target", target.to_owned()));
        for (name, value) in added.into_iter().chain(target) {
            text.extend([name, ": ", &value, "\r\n"]);
        }
        text + "\r\n" + body
    }

    /// A presigned GET as text.
    pub fn get(&self, credentials: &Credentials<'_>, query: &str, expires: i64) -> String {
        let host = self.host();
        let headers = [("host", host.as_bytes())];
        let request = sigv4::Request { method: "GET", path: "/", query, headers: &headers };
        let query = sigv4::presign(&request, &Payload::of(b""), credentials, self.now(), expires).unwrap();
        format!("GET /?{query} HTTP/1.1\r\nhost: {host}\r\n\r\n")
    }

    /// A request signed in version 2, all parameters in its query (GET) or in its body (POST).
    pub fn version_2(&self, method: &str, key: &str, secret: &str, parameters: &str) -> String {
        let host = self.host();
        let query = format!(
            "{parameters}&AWSAccessKeyId={key}&SignatureVersion=2&SignatureMethod=HmacSHA256&Timestamp=2026-01-01T00%3A00%3A00Z"
        );
        let form = wire::Form::parse(query.as_bytes()).unwrap();
        let signature = sigv2::signature(method, &host, "/", &form, secret.as_bytes());
        let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let (query, body) = match method {
            "GET" => (format!("?{query}&Signature={signature}"), String::new()),
            _ => (String::new(), format!("{query}&Signature={signature}")),
        };
        let length = body.len();
        format!("{method} /{query} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n{body}")
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, request: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer().await
    }
}

pub fn credentials(service: &'static str) -> Credentials<'static> {
    Credentials::new(KEY, SECRET.as_bytes(), "us-east-1", service)
}

pub fn temporary(service: &'static str) -> Credentials<'static> {
    Credentials { access_key_id: TEMPORARY, session_token: Some(TOKEN), ..credentials(service) }
}

pub struct Client<S = TcpStream>(pub S);

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    pub async fn answer(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        self.0.read_exact(&mut body).await.unwrap();
        Answer { status, headers, body: String::from_utf8(body).unwrap() }
    }

    /// Whether the server has closed the connection: waits until it does, or says something.
    pub async fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]).await, Ok(0) | Err(_))
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Answer {
    /// The text of the first element of that name.
    pub fn element(&self, name: &str) -> &str {
        let (_, rest) =
            self.body.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("{name} in {self:?}"));
        rest.split_once('<').unwrap().0
    }

    pub fn error(&self) -> (&str, u16) {
        (self.element("Code"), self.status)
    }
}

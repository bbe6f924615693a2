//! A whole control plane in one process, for tests: memory store, a clock turned by hand, seeded entropy.
//!
//! [`Kit::call`] sends a request through the same dispatch as the gateway does, from form to XML; no HTTP, no signature.

use control::access::AllowAll;
use control::entropy::SeededEntropy;
use control::{Caller, Cloud, Context, PublicImages, RegionSettings, Schema, Service, Settings, View};
use model::clock::ManualClock;
use model::{AccessKeyId, AccountId, Clock as _, CloudTag, Region, Timestamp, Zone};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wire::{ApiError, Form, Parameters};

/// 2026-01-01T00:00:00Z: where every kit's clock starts.
pub const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

pub struct Kit {
    pub cloud: Arc<Cloud>,
    pub clock: Arc<ManualClock>,
    services: HashMap<&'static str, Service>,
    requests: AtomicU64,
}

/// The account of [`Kit::call`].
pub const ALICE: AccountId = AccountId::from_number(111_111_111_111);
/// Somebody else.
pub const BOB: AccountId = AccountId::from_number(222_222_222_222);

impl Kit {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A kit whose cloud is set up otherwise.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut schema = Schema::default();
        schema.add::<control::token::UsedToken>();
        schema.add::<model::record::access_key::AccessKey>();
        ec2::schema(&mut schema);
        kms::schema(&mut schema);
        ebs::schema(&mut schema);
        let store = Arc::new(store::Memory::new(store::Window::default()));
        let view = View::open(store.clone(), schema).await.expect("a new memory store can be read");
        let clock = Arc::new(ManualClock::at(START));
        let region = Region::parse("us-east-1").expect("a region");
        let zones = "abc".chars().map(|letter| Zone { region: region.clone(), letter }).collect();
        let mut settings = Settings {
            tag: CloudTag::parse("test00").expect("a tag"),
            regions: vec![RegionSettings { region, zones }],
            byoip: Vec::new(),
            gateway_services: Vec::new(),
            public_pool: "198.18.0.0/22".parse().expect("a block"),
            ipv6_pool: "fd12:3456:7800::/40".parse().expect("a block"),
            overcommit: model::Overcommit::default(),
            public_images: PublicImages::Absent,
            status_checks: Duration::from_secs(10),
            buckets: None,
        };
        change(&mut settings);
        let entropy = Arc::new(SeededEntropy::new(1));
        let (policy, root) = (Arc::new(AllowAll), control::keys::RootKey::new([7; 32]));
        let cloud = Cloud::new(store, view, clock.clone(), entropy, policy, root, settings);
        let services = services().into_iter().map(|service| (service.shape().name, service)).collect();
        Self { cloud, clock, services, requests: AtomicU64::new(0) }
    }

    pub fn region(&self) -> Region {
        self.cloud.settings.regions[0].region.clone()
    }

    pub fn context(&self, account: AccountId) -> Context {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        Context {
            cloud: Arc::clone(&self.cloud),
            caller: Caller {
                account,
                access_key: AccessKeyId::parse("AKIAEXAMPLEEXAMPLE00").expect("a key id"),
                arn: format!("arn:aws:iam::{account}:root"),
                user_id: account.to_string(),
            },
            region: self.region(),
            request_id: format!("00000000-0000-4000-8000-{number:012x}"),
            now: self.clock.now(),
            passage: None,
        }
    }

    /// Alice calls EC2; the answer's body.
    pub async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Result<Answer, ApiError> {
        self.call_as(ALICE, "ec2", action, parameters).await
    }

    /// Alice calls EC2 in another region than the first.
    pub async fn call_in(
        &self,
        region: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Answer, ApiError> {
        let region = Region::parse(region).expect("a region");
        self.send(Context { region, ..self.context(ALICE) }, "ec2", action, parameters).await
    }

    pub async fn call_as(
        &self,
        account: AccountId,
        service: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Answer, ApiError> {
        self.send(self.context(account), service, action, parameters).await
    }

    /// A call of a service that speaks JSON; the answer's object.
    pub async fn json(
        &self,
        account: AccountId,
        service: &str,
        action: &str,
        body: serde_json::Value,
    ) -> Result<serde_json::Value, ApiError> {
        let body = body.to_string();
        let parameters = Parameters::Json(body.as_bytes());
        let answer = self.services[service].dispatch(self.context(account), action, parameters).await?;
        Ok(serde_json::from_slice(&answer.body.into_bytes()).expect("an answer in JSON"))
    }

    /// A call of a service that speaks restJson, as its method and path name it; the answer as it is.
    pub async fn rest(
        &self,
        account: AccountId,
        service: &str,
        request: wire::rest_json::Request<'_>,
    ) -> Result<wire::Response, ApiError> {
        let service = &self.services[service];
        let wire::rest_json::Request { method, path, query, .. } = request;
        let operation = wire::rest_json::route(service.shape(), method, path, query)
            .ok_or_else(|| service.shape().unknown_action(path))?;
        service.dispatch(self.context(account), operation.name, Parameters::Rest(request)).await
    }

    async fn send(
        &self,
        context: Context,
        service: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Answer, ApiError> {
        let mut body = String::new();
        for (name, value) in [("Action", action), ("Version", "2016-11-15")].iter().chain(parameters) {
            for text in ["&", &escape(name), "=", &escape(value)] {
                body.push_str(text);
            }
        }
        let form = Form::parse(&body.as_bytes()[1..]).expect("an escaped form is well formed");
        let answer = self.services[service].dispatch(context, action, &form).await?;
        Ok(Answer(String::from_utf8(answer.body.into_bytes().into()).expect("XML in UTF-8")))
    }
}

/// The services of a cloud, as the program serves them.
pub fn services() -> Vec<Service> {
    vec![
        ec2::service(),
        identity::sts::service(),
        kms::service(),
        ebs::service(),
        ebs::recycle_bin::service(),
    ]
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.push(char::from(HEX[usize::from(other >> 4)]));
                out.push(char::from(HEX[usize::from(other & 15)]));
            }
        }
    }
    out
}

/// An XML answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer(pub String);

impl Answer {
    /// The texts of the elements at `path` (names joined by `/`, from below the root), in document order.
    pub fn all(&self, path: &str) -> Vec<String> {
        let document = roxmltree::Document::parse(&self.0).expect("well-formed XML");
        let mut level = vec![document.root_element()];
        for name in path.split('/') {
            level = level
                .into_iter()
                .flat_map(|node| node.children().filter(move |child| child.tag_name().name() == name))
                .collect();
        }
        level.into_iter().map(|node| node.text().unwrap_or_default().to_owned()).collect()
    }

    /// The one element at `path`.
    ///
    /// # Panics
    /// When there is none, or more than one: the test's expectation is wrong.
    pub fn one(&self, path: &str) -> String {
        let mut all = self.all(path);
        assert_eq!(all.len(), 1, "{path} in {}", self.0);
        all.remove(0)
    }
}

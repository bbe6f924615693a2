//! Connections that came to a VPC endpoint, as an agent hands them over.

use crate::door::{ALICE, Answer, Client, Door, credentials};
use crate::tls::certificate;
use gateway::{Handed, Limits};
use model::host::Arrival;
use model::record::vpc_endpoint::{
    Addressing, ApiService, Connection, EndpointKind, EndpointService, InterfaceEndpoint, VpcEndpoint,
};
use model::{Region, Timestamp, VpcEndpointId, VpcId};
use std::net::Ipv4Addr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

const ECHO: &str = "Action=Echo&Text=hello";

fn region() -> Region {
    Region::parse("us-east-1").unwrap()
}

fn arrival() -> Arrival {
    let (vpc, endpoint) = (VpcId::from_entropy(1), VpcEndpointId::from_entropy(2));
    Arrival { region: region(), vpc, endpoint, source: Ipv4Addr::new(10, 0, 0, 9).into() }
}

async fn stands(door: &Door, service: ApiService, policy: Option<&str>) {
    let endpoint = VpcEndpoint {
        endpoint: arrival().endpoint,
        account: ALICE,
        region: region(),
        vpc: arrival().vpc,
        kind: EndpointKind::Interface(InterfaceEndpoint {
            service: EndpointService::Api(service),
            connection: Connection::Available,
            interfaces: Vec::new(),
            groups: Vec::new(),
            private_dns: false,
            label: "label".into(),
            addressing: Addressing::Ipv4,
            named: Addressing::Ipv4,
        }),
        policy: policy.map(str::to_owned),
        created_at: Timestamp::from_millis(0),
        deleted_at: None,
        tags: model::record::Tags::new(),
    };
    let put = |txn: &mut control::Txn<'_>| {
        txn.put(&region(), endpoint.clone());
        Ok(())
    };
    door.cloud.transact(control::cloud::Mode::Shared, put).await.unwrap();
}

/// A guest's connection, whose other end the server is given.
async fn arrives(door: &Door) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let guest = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    assert!(door.handed.send(Handed { stream, arrival: arrival() }).await.is_ok());
    guest
}

async fn ask(stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    let mut client = Client(stream);
    client.send(request).await;
    client.answer().await
}

#[tokio::test]
async fn an_endpoint_leads_to_its_service_and_nowhere_else() {
    let door = Door::open().await;
    stands(&door, ApiService::Ec2, None).await;
    let answer = ask(arrives(&door).await, &door.post(&credentials("ec2"), ECHO)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let other = ask(arrives(&door).await, &door.post(&credentials("sts"), ECHO)).await;
    assert_eq!(other.status, 403, "{}", other.body);
    for own in ["/_nube/health", "/_nube/reset"] {
        let request = format!("GET {own} HTTP/1.1\r\nhost: {}\r\n\r\n", door.host());
        let answer = ask(arrives(&door).await, &request).await;
        assert!(answer.status >= 400, "{own}: {}", answer.body);
    }
}

#[tokio::test]
async fn its_policy_judges_what_comes_by_it_and_nothing_comes_by_one_that_is_gone() {
    let door = Door::open().await;
    let request = || door.post(&credentials("ec2"), ECHO);
    let gone = ask(arrives(&door).await, &request()).await;
    assert_eq!(gone.status, 403, "{}", gone.body);
    let one = |effect: &str, action: &str| {
        format!(
            r#"{{"Statement":[{{"Effect":"{effect}","Principal":"*","Action":"{action}","Resource":"*"}}]}}"#
        )
    };
    for (policy, status) in
        [(one("Allow", "ec2:Echo"), 200), (one("Allow", "ec2:Wait"), 403), (one("Deny", "*"), 403)]
    {
        stands(&door, ApiService::Ec2, Some(&policy)).await;
        let answer = ask(arrives(&door).await, &request()).await;
        assert_eq!(answer.status, status, "{policy}: {}", answer.body);
        assert_eq!(answer.body.contains("VPC endpoint policy"), status == 403, "{}", answer.body);
    }
    assert_eq!(door.ask(&request()).await.status, 200, "who comes by the port is not judged by it");
}

#[tokio::test]
async fn tls_is_spoken_at_an_endpoint_too() {
    let certificate = certificate();
    let door = Door::with_tls(Limits::default(), Some(certificate.tls())).await;
    stands(&door, ApiService::Ec2, None).await;
    let stream = certificate.over(arrives(&door).await, &["http/1.1"]).await.unwrap();
    let answer = ask(stream, &door.post(&credentials("ec2"), ECHO)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

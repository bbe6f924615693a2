//! How a request came by a VPC endpoint, and what the endpoint's policy says of it.
//!
//! The host's agent hands a connection over with an [`Arrival`]; what is asked on it passes the policy of that endpoint as
//! it is then, beside what judges every request. A connection whose endpoint is gone leads nowhere.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-access.html>

use crate::policy::{Ask, Document, Verdict};
use crate::{Caller, EncryptionContext, Tables, Touched};
use model::host::Arrival;
use model::record::vpc_endpoint::{EndpointService, VpcEndpoint};
use model::{Region, VpcEndpointId, VpcId};
use std::net::IpAddr;

/// The endpoint that a request came by.
pub struct Passage {
    pub endpoint: VpcEndpointId,
    pub vpc: VpcId,
    pub source: IpAddr,
    pub region: Region,
    /// The one service that it leads to.
    pub service: String,
    policy: Judge,
}

enum Judge {
    FullAccess,
    Document(Document),
    /// What was stored cannot be read: nothing passes.
    Unreadable,
}

impl Passage {
    /// `None`: there is no such endpoint any more.
    pub fn find(tables: &Tables, arrival: &Arrival) -> Option<Self> {
        let endpoint = tables.get::<VpcEndpoint>(&arrival.region, &arrival.endpoint)?;
        // What leads to an account's service asks nothing here.
        let EndpointService::Api(service) = endpoint.interface()?.service else { return None };
        let policy = match endpoint.policy.as_deref().map(Document::parse) {
            None => Judge::FullAccess,
            Some(Ok(document)) => Judge::Document(document),
            Some(Err(_)) => Judge::Unreadable,
        };
        (endpoint.is_there() && endpoint.vpc == arrival.vpc).then(|| Self {
            endpoint: endpoint.endpoint,
            vpc: endpoint.vpc,
            source: arrival.source,
            region: arrival.region.clone(),
            service: service.as_str().to_owned(),
            policy,
        })
    }

    /// Whether its policy lets the caller do this with everything that is touched; else what the caller is told.
    pub fn permit(&self, caller: &Caller, action: &str, touched: &[Touched]) -> Result<(), String> {
        if matches!(self.policy, Judge::FullAccess) {
            return Ok(());
        }
        let anything = Touched::anything();
        let touched = if touched.is_empty() { &anything } else { touched };
        for resource in touched {
            let why = match self.judge(caller, action, resource) {
                Verdict::Allow => continue,
                Verdict::Deny => "with an explicit deny in a VPC endpoint policy".to_owned(),
                Verdict::Silent => format!("because no VPC endpoint policy allows the {action} action"),
            };
            let on = match resource.arn.as_str() {
                "*" => String::new(),
                arn => format!(" on resource: {arn}"),
            };
            return Err(format!("User: {} is not authorized to perform: {action}{on} {why}", caller.arn));
        }
        Ok(())
    }

    fn judge(&self, caller: &Caller, action: &str, resource: &Touched) -> Verdict {
        let Judge::Document(document) = &self.policy else { return Verdict::Silent };
        document.judge(&Ask {
            principal: &caller.arn,
            account: caller.account,
            action,
            resource: Some(resource),
            via: None,
            context: &EncryptionContext::new(),
            passage: Some(self),
        })
    }
}

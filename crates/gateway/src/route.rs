//! Which service a request is for.
//!
//! A signature names its service. Without one (to say properly that it is missing) the Host, the API version, and for what is not
//! asked of `/` the operation that method and path name tell.

use crate::Gateway;
use crate::head::Head;
use control::Service;
use wire::{Form, OperationShape, Protocol, rest_json};

impl Gateway {
    /// `signed` is the service that the signature names.
    pub(crate) fn route(&self, signed: Option<&str>, head: &Head<'_>, form: &Form) -> Option<&Service> {
        if let Some(signed) = signed {
            return self.service(signed);
        }
        let by_host = head.host().and_then(|host| self.service(host.split('.').next()?));
        let by_version = || {
            let version = form.get("Version")?;
            self.services.iter().find(|service| service.shape().api_version == version)
        };
        let by_path = || self.by_path(head).map(|(service, _)| service);
        by_host.or_else(by_version).or_else(by_path).or_else(|| self.services.first())
    }

    /// The operation of a service of the rest protocols that method and path name. Nothing is proven by it.
    pub(crate) fn rest(&self, head: &Head<'_>) -> Option<&'static OperationShape> {
        if head.path == "/" {
            return None;
        }
        let named = scope_service(head).or_else(|| head.host()?.split('.').next());
        match named.and_then(|name| self.service(name)) {
            Some(service) => operation(service, head),
            None => self.by_path(head).map(|(_, operation)| operation),
        }
    }

    fn by_path(&self, head: &Head<'_>) -> Option<(&Service, &'static OperationShape)> {
        if head.path == "/" {
            return None;
        }
        self.services.iter().find_map(|service| Some((service, operation(service, head)?)))
    }
}

fn operation(service: &Service, head: &Head<'_>) -> Option<&'static OperationShape> {
    let shape = service.shape();
    let is_rest = shape.protocol == Protocol::RestJson;
    is_rest.then(|| rest_json::route(shape, head.method, head.path, head.query))?
}

/// The service that the scope of a signature names, in the header or the query.
fn scope_service<'a>(head: &Head<'a>) -> Option<&'a str> {
    let scope = |text: &'a str, slash: &str| text.split(slash).nth(3).filter(|name| !name.is_empty());
    if let Some((_, rest)) = head.text("authorization").and_then(|text| text.split_once("Credential=")) {
        return scope(rest.split([',', ' ']).next()?, "/");
    }
    let (_, rest) = head.query.split_once("X-Amz-Credential=")?;
    let credential = rest.split('&').next()?;
    scope(credential, "%2F").or_else(|| scope(credential, "/"))
}

//! Which service a request is for.
//!
//! A signature names its service. Without one (to say properly that it is missing) the Host and the API version tell.

use crate::Gateway;
use control::Service;
use wire::Form;

impl Gateway {
    /// `signed` is the service that the signature names.
    pub(crate) fn route(&self, signed: Option<&str>, host: Option<&str>, form: &Form) -> Option<&Service> {
        if let Some(signed) = signed {
            return self.service(signed);
        }
        let by_host = host.and_then(|host| self.service(host.split('.').next()?));
        let by_version = || {
            let version = form.get("Version")?;
            self.services.iter().find(|service| service.shape().api_version == version)
        };
        by_host.or_else(by_version).or_else(|| self.services.first())
    }
}

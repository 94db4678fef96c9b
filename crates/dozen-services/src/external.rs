//! `external`: a service that someone else runs, known by its URL.
//!
//! Nothing is made and nothing is mounted: the URL goes into a config var. Whether the service
//! answers is not asked here.

use dozen_model::manifest::ServiceKind;

use crate::{Driver, ServiceError, ServicePlan, ServiceRequest};

/// The driver of `external`.
#[derive(Debug)]
pub(crate) struct External;

impl Driver for External {
    fn kind(&self) -> ServiceKind {
        ServiceKind::External
    }

    fn plan(&self, request: &ServiceRequest) -> Result<ServicePlan, ServiceError> {
        request.only(&["URL", "URL options"])?;
        let Some(url) = &request.url else {
            return Err(ServiceError::UrlMissing { service: request.name.clone() });
        };
        let mut warnings = Vec::new();
        if url.is_loopback() {
            warnings.push(format!(
                "`{}` is at a loopback address: where instances have a network of their own, that is the instance itself",
                request.name
            ));
        }
        Ok(ServicePlan {
            steps: Vec::new(),
            mounts: Vec::new(),
            vars: vec![(request.var(), url.value(&request.url_options).into_bytes())],
            single_writer: false,
            warnings,
        })
    }
}

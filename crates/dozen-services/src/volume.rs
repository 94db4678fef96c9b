//! `volume`: a directory that outlives releases, for uploads.
//!
//! Its config var holds the path of the mount, so an app can be pointed at it as at any service.

use dozen_model::manifest::{MountPath, ServiceKind};

use crate::{Driver, ServiceError, ServiceMount, ServicePlan, ServiceRequest, Step};

/// The driver of `volume`.
#[derive(Debug)]
pub(crate) struct Volume;

impl Driver for Volume {
    fn kind(&self) -> ServiceKind {
        ServiceKind::Volume
    }

    fn plan(&self, request: &ServiceRequest) -> Result<ServicePlan, ServiceError> {
        request.only(&["path"])?;
        let name = &request.name;
        let target = request.path.clone().unwrap_or_else(|| MountPath::of_service(name));
        Ok(ServicePlan {
            steps: vec![Step::MakeDirectory { name: name.clone() }],
            vars: vec![(request.var(), target.as_str().as_bytes().to_vec())],
            mounts: vec![ServiceMount { directory: name.clone(), target, writable: true }],
            single_writer: false,
            warnings: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_mounted_where_its_config_var_says() {
        let mut request = ServiceRequest::new("media".parse().unwrap(), ServiceKind::Volume);
        let plan = Volume.plan(&request).unwrap();
        assert_eq!(plan.vars, [("MEDIA_PATH".parse().unwrap(), b"/data/media".to_vec())]);
        assert_eq!(plan.mounts[0].target.as_str(), "/data/media");
        assert!(plan.mounts[0].writable && !plan.single_writer);
        assert_eq!(plan.steps, [Step::MakeDirectory { name: request.name.clone() }]);

        request.path = Some("/app/media".parse().unwrap());
        request.var = Some("MEDIA_ROOT".parse().unwrap());
        let plan = Volume.plan(&request).unwrap();
        assert_eq!(plan.vars, [("MEDIA_ROOT".parse().unwrap(), b"/app/media".to_vec())]);
        assert_eq!(
            (plan.mounts[0].target.as_str(), plan.mounts[0].directory.as_str()),
            ("/app/media", "media")
        );
    }

    #[test]
    fn a_volume_has_no_url() {
        let mut request = ServiceRequest::new("media".parse().unwrap(), ServiceKind::Volume);
        request.url_options.insert("a".into(), "b".into());
        let error = Volume.plan(&request).unwrap_err();
        assert_eq!(error.to_string(), "`media` takes no URL options, its kind is `volume`");
    }
}

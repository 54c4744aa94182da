//! Reading the configuration, whether it comes from a file or from the cluster.

use weir_discovery::xds::MeshConfig;

/// Reads a configuration of the injector, YAML or JSON.
pub(crate) fn injector_config(text: &str) -> Result<weir_injector::Config, String> {
    let document = yaml_serde::Deserializer::from_str(text);
    weir_injector::Config::read(document).map_err(|error| error.to_string())
}

/// Reads mesh-wide settings, YAML or JSON. An empty text has all defaults.
pub(crate) fn mesh_config(text: &str) -> Result<MeshConfig, String> {
    // Its errors say where: by field, line and column.
    let settings: Option<MeshConfig> =
        yaml_serde::from_str(text).map_err(|error| error.to_string())?;
    let settings = settings.unwrap_or_default();
    settings.validate()?;
    Ok(settings)
}

"""Settings, the factory that assembles a gateway from them, and the JWKS client."""

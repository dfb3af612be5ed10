"""What tests are made with: gateways in process and as processes of their own, clients, fakes, tokens, and a Redis."""

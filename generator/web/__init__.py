"""Pages and forms: what a browser asks for over HTTP, and the answers.

Views read with selectors and write with services; forms say what a person may enter. No rule about
texts lives here.
"""

"""The client side: ASGI messages to exchanges and back."""

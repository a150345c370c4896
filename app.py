"""Start the app: `python app.py`, as a Space does; installed, `p2p app` is the same."""

from p2p_app.launch import arguments, main

__all__ = ["arguments", "main"]

if __name__ == "__main__":
    main()

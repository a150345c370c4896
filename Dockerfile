# docker build -t p2p .                      CPU
# docker build -t p2p --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .     CUDA
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 user
USER user
WORKDIR /home/user/app
ENV PATH=/home/user/.local/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GRADIO_ANALYTICS_ENABLED=False \
    GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860 \
    GRADIO_TEMP_DIR=/tmp/gradio \
    MPLCONFIGDIR=/tmp/matplotlib \
    P2P_PUBLIC=1 \
    HF_HOME=/home/user/models

COPY --chown=user requirements.txt .
# torch in a layer of its own: it is the largest by far and changes least
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --user --index-url "$TORCH_INDEX" "$(grep '^torch==' requirements.txt)"
RUN pip install --no-cache-dir --user -r requirements.txt

COPY --chown=user assets assets
COPY --chown=user p2p_core p2p_core
COPY --chown=user p2p_app p2p_app
COPY --chown=user app.py README.md LICENSE ./

RUN mkdir -p /home/user/models
VOLUME /home/user/models
EXPOSE 7860
# healthy once the model is there
HEALTHCHECK --interval=30s --timeout=5s --start-period=600s \
    CMD python -c "import urllib.request as u; u.urlopen('http://localhost:7860/health', timeout=4)"
CMD ["python", "app.py"]
